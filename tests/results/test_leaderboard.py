"""Models x tasks: ranks, letters, chance, cost and coverage, against answers worked out by hand."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.results import classification, coverage, retrieval
from tvts_bench import load_results
from tvts_bench.results import Result, ResultError
from tvts_bench.results.comparability import ModelScores
from tvts_bench.results.leaderboard import Leaderboard, letters_of, make_leaderboard
from tvts_bench.tables.leaderboard import as_text

ROOT = Path(__file__).parents[2]
FORMS = ("csv", "md", "tex", "html")


def board(*results: Result, **arguments: Any) -> Leaderboard:
    return make_leaderboard(load_results(results), **arguments)


def hits(right: int, of: int, backbone: str, **changes: Any) -> Result:
    """Retrieval in which the first `right` of `of` queries hit."""
    return retrieval([[query < right] for query in range(of)], backbone=backbone, **changes)


def scores(**right: set[int]) -> list[ModelScores]:
    """Models by which of 400 clips they get right."""
    return [
        ModelScores(
            model=model,
            value=100 * len(clips) / 400,
            low=None,
            high=None,
            chance=None,
            by_seed={None: 0.0},
            outcomes={None: {f"c{clip}": float(clip in clips) for clip in range(400)}},
        )
        for model, clips in right.items()
    ]


def test_models_share_a_letter_where_no_difference_is_shown() -> None:
    base = set(range(200))
    assert letters_of(scores(a=base, b=base - {0, 1}, c=base - set(range(20)))) == {"a": "a", "b": "a", "c": "b"}
    # a and b differ by 4 clips, b and c by 4: no one can tell; a and c differ by 8, all on one side: that shows.
    chain = letters_of(scores(a=base, b=base - set(range(4)), c=base - set(range(8))))
    assert chain == {"a": "a", "b": "ab", "c": "b"}
    assert letters_of(scores(a=base, b=base)) == {"a": "a", "b": "a"}
    assert letters_of(scores(a=base)) == {}


def test_letters_are_none_where_clips_are_not_known() -> None:
    known, *others = scores(a=set(range(9)), b={1})
    bare = replace(others[0], outcomes={})
    assert letters_of([known, bare]) == {}
    assert letters_of([known, bare, *scores(c=set(range(9)))]) == {"a": "a", "c": "a"}


def test_ranks_are_means_over_the_columns_that_all_are_in() -> None:
    made = board(
        hits(9, 10, "a"),
        hits(5, 10, "b"),
        hits(9, 10, "c"),
        hits(2, 10, "a", dataset="ucf101"),
        hits(4, 10, "b", dataset="ucf101"),
        hits(3, 10, "c", dataset="ucf101"),
        hits(4, 10, "a", dataset="hmdb51"),
    )
    # ssv2: a and c share ranks 1 and 2, b is third; ucf101: b, c, a; hmdb51 has a alone.
    assert made.mean_ranks == {"tvts:a": (1.5 + 3) / 2, "tvts:b": (3 + 1) / 2, "tvts:c": (1.5 + 2) / 2}
    assert made.models == ("tvts:c", "tvts:b", "tvts:a")
    assert "mean rank: over the 2 of 3 columns that all models are in" in made.notes
    assert made.measures[0].chance == 4.0
    frame = made.to_pandas()
    assert frame.loc["tvts:a", "hmdb51 val, zero-shot retrieval, R@1"] == 40.0
    assert frame["hmdb51 val, zero-shot retrieval, R@1"].isna().tolist() == [True, True, False]


def test_bold_is_only_who_is_shown_to_be_ahead_of_all_others() -> None:
    ahead = board(hits(90, 100, "a"), hits(50, 100, "b"), hits(51, 100, "c"))
    assert {model for (model, _), cell in ahead.cells.items() if cell.best} == {"tvts:a"}
    together = board(hits(52, 100, "a"), hits(50, 100, "b"), hits(51, 100, "c"))
    assert not any(cell.best for cell in together.cells.values())
    assert {cell.letters for cell in together.cells.values()} == {"a"}


def test_what_was_measured_differently_has_a_column_of_its_own() -> None:
    made = board(hits(9, 10, "a"), hits(5, 10, "b"), hits(9, 10, "c", dtype="bf16"), hits(1, 10, "d", version="0.0.1"))
    assert [measure.heading for measure in made.measures] == [
        "R@1",
        "R@1, evaluator.dtype bf16",
        "R@1, version of tvts-bench 0.0.1",
    ]
    assert {model for model, column in made.cells if column == 1} == {"tvts:c"}
    assert made.mean_ranks == {}
    assert "mean rank: none, because no column has all models" in made.notes


def test_each_head_is_a_column_and_other_metrics_are_to_be_had() -> None:
    made = board(
        classification([True, False], evaluator="cached_probe", condition="linear"),
        classification([True, True], evaluator="finetune", condition="fine-tuned"),
    )
    assert [measure.heading for measure in made.measures] == ["top-1, linear", "top-1, fine-tuned"]
    assert [m.heading for m in board(hits(1, 2, "a"), metrics=["R@5", "R@1"]).measures] == ["R@5", "R@1"]
    with pytest.raises(ResultError, match="no result has R@7; leave out --metric"):
        board(hits(1, 2, "a"), metrics=["R@7"])


def test_two_runs_of_one_name_are_refused() -> None:
    with pytest.raises(ResultError, match="two runs of one name"):
        board(hits(1, 2, "a"), hits(2, 2, "a", seed=1))


def costly() -> Leaderboard:
    """A model whose results say what it costs and cover a part, and random weights whose do not."""
    known = hits(9, 10, "a", parts=(coverage("val", 10, 12),))
    cost = {"parameters": 86_394_624, "gmacs_per_clip": 167.46}
    root = "/home/someone/videos"
    provenance = {**known.provenance, "cost": cost, "clips_per_second": 2.5, "device": "cuda", "root": root}
    random = hits(1, 10, "r")
    backbone = {**random.run.backbone, "weights": "random init (seed 0)"}
    return board(
        replace(known, provenance=provenance),
        replace(random, run=replace(random.run, backbone=backbone)),
    )


def test_cost_and_coverage_stand_beside_the_numbers_where_they_are_known() -> None:
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(as_text(costly(), "csv")))}
    known, random = rows["tvts:a"], rows["tvts:r RANDOM"]
    assert (known["parameters"], known["gmacs_per_clip"]) == ("86394624", "167.46")
    assert (known["clips_per_second"], known["device"]) == ("2.5", "cuda")
    assert (known["used"], known["listed"], known["complete"]) == ("10", "12", "0")
    assert (random["parameters"], random["device"], random["random_weights"]) == ("", "", "1")
    text = as_text(costly(), "md")
    assert "| tvts:a | 1.0 | **90.0**a [89.0, 91.0] 83.3 % of the clips | 86.39 | 167.5 | 2.5 | cuda |" in text
    assert "- cost is blank where results do not say it" in text


@pytest.mark.parametrize("form", FORMS)
def test_every_file_marks_random_weights_and_holds_no_path_of_a_machine(form: str) -> None:
    text = as_text(costly(), form)
    assert "tvts:r RANDOM" in text
    assert "/home" not in text
    assert text == as_text(costly(), form), "equal results make equal bytes"


def test_names_from_files_are_text_in_every_format() -> None:
    hostile = hits(1, 2, "<script>alert(1)</script>|&_\x1b[31m")
    texts = {form: as_text(board(hostile), form) for form in FORMS}
    assert "<script>" not in texts["html"]
    assert "&lt;script&gt;" in texts["html"]
    assert r"\|" in texts["md"]
    assert r"\_" in texts["tex"]
    assert not any("\x1b" in text for text in texts.values())


def test_the_leaderboard_of_what_we_measured_does_not_drift(golden: Callable[[str, Any], Any]) -> None:
    """From results/: a grid with seeds and single clips, probes with neither."""
    sources: Mapping[str, str] = {"grid": "results/ablations/sort-modeling.zip", "probe": "results/probe"}
    made = {
        name: as_text(make_leaderboard(load_results(ROOT / source)), "md").splitlines()
        for name, source in sources.items()
    }
    assert made == golden("leaderboard.json", made)
