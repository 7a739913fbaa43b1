"""Tables filled from small real videos: what is there is not measured again, and one bad row spoils no other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.official_divided import frozen, made, tvts2
from tests.support.plain_videos import write_plain_video
from tvts_bench import table_runs
from tvts_bench.backbones.tvts import SIZES
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.errors import UserError
from tvts_bench.evaluation import evaluate
from tvts_bench.models.vit import VideoTransformer
from tvts_bench.results import Result
from tvts_bench.results.index import RUNS
from tvts_bench.runtime import Runtime
from tvts_bench.table_runs import MeasurementRequest, fill_table
from tvts_bench.tables.assemble import TableResults, assemble
from tvts_bench.tables.base import RETRIEVAL, Column, Protocol, Table, TableRow
from tvts_bench.tables.model import CellResults, as_document
from tvts_bench.tables.render import write_table
from tvts_bench.training.recipe import Recipe

COLOURS = {"red": (200, 20, 20), "blue": (20, 20, 200)}
PROBE = Protocol(
    name="k-NN",
    command="probe",
    evaluator="cached_probe",
    settings={"heads": ("knn",), "held_out": 0.25},
    condition="k-NN",
)
COLUMNS = (
    Column(
        name="r1", heading="R@1", dataset="folder", metric="R@1", protocols=(replace(RETRIEVAL, settings={"ks": (1,)}),)
    ),
    Column(name="knn", heading="k-NN", dataset="folder", metric="top-1", protocols=(PROBE,)),
)
TINY, SECOND, PIXELS = (TableRow(name=name, backbone=name) for name in ("tvts:tiny", "pixels:mean8x8", "pixels"))
TABLE = Table(
    name="table4",
    title="colours",
    labels={},
    columns=COLUMNS,
    rows=(TINY, PIXELS),
    baselines=(PIXELS.name,),
    examples=(),
)


@pytest.fixture
def colours(tmp_path: Path) -> Dataset:
    """Four videos of each colour in each of two splits."""
    for split in ("train", "test"):
        for name, colour in COLOURS.items():
            for shade in range(4):
                shaded = [value + 10 * shade + 5 * (split == "train") for value in colour]
                write_plain_video(tmp_path / "videos" / split / name / f"{shade}.mp4", shaded)
    return load_dataset("folder", tmp_path / "videos")


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(workers=0, cache=tmp_path / "cache")


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was evaluated: backbone and protocol."""
    seen: list[str] = []

    def watched(backbone: Any, dataset: Any, evaluator: Any, runtime: Runtime) -> Result:
        seen.append(f"{backbone.family} {evaluator.name}")
        return evaluate(backbone, dataset, evaluator, runtime)

    monkeypatch.setattr(table_runs, "evaluate", watched)
    return seen


def asked(colours: Dataset, rows: Sequence[TableRow] = (TINY, PIXELS), **changes: Any) -> MeasurementRequest:
    return MeasurementRequest(
        table=TABLE, rows=tuple(rows), datasets={"folder": colours}, decoder="pyav", dtype="fp32", **changes
    )


def everything(rows: Sequence[TableRow] = (TINY, PIXELS)) -> set[tuple[str, str]]:
    return {(row.name, column.name) for row in rows for column in COLUMNS}


def test_the_second_time_nothing_is_measured_and_the_bytes_are_the_same(
    colours: Dataset, runtime: Runtime, tmp_path: Path, evaluations: list[str]
) -> None:
    out, said = tmp_path / "out", list[str]()
    first = fill_table(asked(colours), out, runtime, said.append)
    assert set(first) == everything()
    assert all(each.stored for each in first.values())
    assert evaluations == [
        f"{family} {name}" for name in ("zero_shot_retrieval", "cached_probe") for family in ("tvts", "pixels")
    ]
    assert said[0] == "measuring 1 of 4: tvts:tiny, zero-shot retrieval on folder"
    written = write_files_of(first, out)
    evaluations.clear()
    second = fill_table(asked(colours), out, replace(runtime, cache=tmp_path / "another cache"), said.append)
    assert not evaluations
    assert write_files_of(second, out) == written


def write_files_of(found: dict[tuple[str, str], CellResults], out: Path) -> list[bytes]:
    markdown = write_table(as_document(assemble(TABLE, TableResults(cells=found, embedded=False), out)), out)
    return [markdown.with_suffix(suffix).read_bytes() for suffix in (".md", ".csv", ".tex", ".json")]


def test_a_run_that_was_interrupted_goes_on_at_the_missing_cells(
    colours: Dataset, runtime: Runtime, tmp_path: Path, evaluations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Result] = []

    def stopped(*arguments: Any) -> Result:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(evaluate(*arguments))
        return done[-1]

    with monkeypatch.context() as patch:
        patch.setattr(table_runs, "evaluate", stopped)
        with pytest.raises(KeyboardInterrupt):
            fill_table(asked(colours), tmp_path / "out", runtime, lambda line: None)
    resumed = fill_table(asked(colours), tmp_path / "out", runtime, lambda line: None)
    assert evaluations == ["pixels cached_probe"]
    assert write_files_of(resumed, tmp_path / "out") == write_files_of(
        fill_table(asked(colours), tmp_path / "whole", runtime, lambda line: None), tmp_path / "whole"
    )


def test_fresh_measures_what_is_there_again(
    colours: Dataset, runtime: Runtime, tmp_path: Path, evaluations: list[str]
) -> None:
    fill_table(asked(colours, rows=[PIXELS]), tmp_path / "out", runtime, lambda line: None)
    fill_table(asked(colours, rows=[PIXELS], fresh=True), tmp_path / "out", runtime, lambda line: None)
    assert len(evaluations) == 4
    assert len(list((tmp_path / "out" / RUNS).glob("*.json"))) == 2


def test_strict_takes_no_result_that_missed_a_clip(
    colours: Dataset, runtime: Runtime, tmp_path: Path, evaluations: list[str]
) -> None:
    colours.records("test")[0].path.write_bytes(b"no video")
    loose = fill_table(asked(colours, rows=[PIXELS]), tmp_path / "out", runtime, lambda line: None)
    assert loose[PIXELS.name, "r1"].stored
    evaluations.clear()
    again = fill_table(asked(colours, rows=[PIXELS]), tmp_path / "out", runtime, lambda line: None)
    assert again[PIXELS.name, "r1"].stored
    assert not evaluations
    strict = fill_table(
        asked(colours, rows=[PIXELS]), tmp_path / "out", replace(runtime, strict=True), lambda line: None
    )
    assert strict[PIXELS.name, "r1"].status == "failed"
    assert "cannot be measured" in (strict[PIXELS.name, "r1"].reason or "")


def test_a_checkpoint_that_does_not_load_is_the_reason_of_its_row_alone(
    colours: Dataset, runtime: Runtime, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no weights")
    row = TableRow(name="TVTS")
    found = fill_table(
        asked(colours, rows=[row, PIXELS], checkpoints={"TVTS": broken}), tmp_path / "out", runtime, lambda line: None
    )
    for column in COLUMNS:
        reason = found["TVTS", column.name].reason
        assert found["TVTS", column.name].status == "not run"
        assert reason is not None
        assert reason.startswith("TVTS: ")
        assert "broken.pth" in reason
        assert found[PIXELS.name, column.name].stored


def test_a_row_has_the_weights_that_are_chosen_and_says_where_averages_were_left(
    colours: Dataset, runtime: Runtime, tmp_path: Path
) -> None:
    states = [VideoTransformer.seeded(SIZES["tiny"], seed).state_dict() for seed in (0, 1)]
    torch.save({"model": states[0], "model_ema": states[1]}, tmp_path / "x.pth")
    given = asked(colours, rows=[TINY], checkpoints={TINY.name: tmp_path / "x.pth"})
    said: dict[str, tuple[str, ...]] = {}
    for each in (given, replace(given, weights="ema")):
        result = fill_table(each, tmp_path / "out", runtime, lambda line: None)[TINY.name, "r1"].stored[0][1].result
        said[result.run.backbone["weights"]] = result.notes
    assert list(said) == ["x.pth", "x.pth (model_ema)"]
    assert any("holds averaged weights under 'model_ema'" in note for note in said["x.pth"])
    assert not any("averaged" in note for note in said["x.pth (model_ema)"])


def test_a_row_of_the_paper_is_filled_by_the_system_that_it_quotes(
    colours: Dataset, runtime: Runtime, tmp_path: Path
) -> None:
    """A bare encoder may be Frozen's or MILES's, which the row says; what is told to be another's is refused."""
    torch.save(made(frozen()), tmp_path / "bare.pth")
    torch.save(made(tvts2()), tmp_path / "v2.pth")
    rows = [TableRow(name=name) for name in ("Frozen", "MILES", "TVTS", "CVRL")]
    files = {"Frozen": "bare.pth", "MILES": "bare.pth", "TVTS": "v2.pth", "CVRL": "v2.pth"}
    checkpoints = {row: tmp_path / file for row, file in files.items()}
    found = fill_table(asked(colours, rows=rows, checkpoints=checkpoints), tmp_path / "out", runtime, lambda line: None)
    families = {
        name: found[name, "r1"].stored[0][1].result.run.backbone["family"] for name in ("Frozen", "MILES", "CVRL")
    }
    assert families == {"Frozen": "frozen", "MILES": "miles", "CVRL": "tvts2"}  # no file of CVRL can be told
    assert (found["TVTS", "r1"].reason or "").endswith("v2.pth is of tvts2, not of tvts")


def test_what_goes_wrong_in_one_evaluation_is_a_failed_cell_and_the_others_are_measured(
    colours: Dataset, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverges(backbone: Any, *others: Any) -> Result:
        if backbone.family == "tvts":
            raise UserError("the loss is NaN")
        return evaluate(backbone, *others)

    monkeypatch.setattr(table_runs, "evaluate", diverges)
    found = fill_table(asked(colours), tmp_path / "out", runtime, lambda line: None)
    assert {found[TINY.name, column.name].status for column in COLUMNS} == {"failed"}
    assert found[TINY.name, "r1"].reason == "tvts:tiny: the loss is NaN"
    assert all(found[PIXELS.name, column.name].stored for column in COLUMNS)


def test_a_split_that_is_not_there_leaves_what_needs_it_unrun(runtime: Runtime, tmp_path: Path) -> None:
    for shade in range(3):
        for name, colour in COLOURS.items():
            write_plain_video(tmp_path / "one" / name / f"{shade}.mp4", [value + 10 * shade for value in colour])
    found = fill_table(
        asked(load_dataset("folder", tmp_path / "one"), rows=[PIXELS]), tmp_path / "out", runtime, lambda line: None
    )
    assert found[PIXELS.name, "r1"].stored
    assert found[PIXELS.name, "knn"].status == "not run"
    assert "train" in (found[PIXELS.name, "knn"].reason or "")


def test_results_of_another_configuration_or_version_are_named_and_not_taken(
    colours: Dataset, runtime: Runtime, tmp_path: Path, evaluations: list[str]
) -> None:
    out, said = tmp_path / "out", list[str]()
    first = fill_table(asked(colours, rows=[PIXELS]), out, runtime, said.append)
    path = first[PIXELS.name, "knn"].stored[0][1].path
    path.write_text(path.read_text().replace('"tvts-bench": "', '"tvts-bench": "0.0.1-'))
    said.clear()
    evaluations.clear()
    fill_table(replace(asked(colours, rows=[PIXELS]), decoder="decord"), out, runtime, said.append)
    assert evaluations == ["pixels zero_shot_retrieval", "pixels cached_probe"]
    assert any("made by tvts-bench 0.0.1-" in line and path.name in line for line in said)
    assert any("ignored for pixels: 1 results of zero-shot retrieval on folder with another" in line for line in said)


def test_a_table_fine_tunes_by_the_recipe_of_its_data_and_takes_it_up_again(
    colours: Dataset, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(epochs=1, warmup_epochs=0, batch_size=4, views="1x1", best="last")
    monkeypatch.setattr(table_runs, "preset", lambda task, name: recipe)
    tuned = Protocol(name="fine-tuning", command="finetune", evaluator="finetune", condition="fine-tuned")
    column = Column(name="top1", heading="top-1", dataset="folder", metric="top-1", protocols=(tuned,))
    table = replace(TABLE, columns=(column,))
    wanted = replace(asked(colours, rows=[TINY]), table=table, accumulate=2)
    found = fill_table(wanted, tmp_path / "out", runtime, lambda line: None)
    ((_, stored),) = found[TINY.name, "top1"].stored
    assert stored.result.run.evaluator["recipe"]["accumulate"] == 2
    assert stored.result.run.evaluator["recipe"]["precision"] == "fp32"
    stored.path.unlink()  # as if stopped after training
    again = fill_table(wanted, tmp_path / "out", runtime, lambda line: None)
    ((_, retested),) = again[TINY.name, "top1"].stored
    assert retested.result.metrics == stored.result.metrics
