"""A result survives its file, a damaged file is refused, and nothing that was measured is lost."""

import copy
import io
import json
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.odd_json import DEEP, ODD, REMOVED, Place, altered, places
from tests.support.results import make_result
from tvts_bench.provenance import digest
from tvts_bench.report.folder import Contents
from tvts_bench.report.page import build, render
from tvts_bench.results import ResultError, Run, as_json, from_json, load, require_writable, save
from tvts_bench.results.files import as_csv, as_markdown, write_files
from tvts_bench.results.index import StoredResult
from tvts_bench.snapshot import Snapshot


def test_a_result_is_the_same_after_its_file(tmp_path: Path) -> None:
    result = make_result()
    assert load(save(result, tmp_path).json) == result


def test_the_key_speaks_of_the_run_and_not_of_what_it_measured() -> None:
    result = make_result()
    assert replace(result, metrics=()).run.key == result.run.key
    other = replace(result, run=replace(result.run, decoder="PyAV 18.1.0"))
    assert other.run.key != result.run.key


def test_saving_the_same_numbers_again_keeps_one_file(tmp_path: Path) -> None:
    save(make_result(), tmp_path)
    assert save(make_result(), tmp_path).superseded is None
    assert len(list(tmp_path.iterdir())) == 1


def test_other_numbers_of_the_same_run_are_set_aside_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(make_result(12.5), tmp_path)
    saved = save(make_result(13.0), tmp_path)
    assert saved.superseded is not None
    assert load(saved.superseded).metric("R@1").value == 12.5
    assert load(saved.json).metric("R@1").value == 13.0
    assert saved.superseded.name in caplog.text


def test_all_files_of_a_run_are_set_aside_together(tmp_path: Path) -> None:
    for value in (1.0, 2.0, 3.0):
        tables = {"neighbors": {"similarity": [value]}}
        written = write_files(replace(make_result(value), tables=tables), tmp_path)
    stem = make_result().stem
    for name, value in ((f"{stem}.1", 1.0), (f"{stem}.2", 2.0), (stem, 3.0)):
        assert load(tmp_path / f"{name}.json").metric("R@1").value == value
        assert pd.read_csv(tmp_path / f"{name}.csv")["value"][0] == value
        assert pd.read_parquet(tmp_path / f"{name}.neighbors.parquet")["similarity"][0] == value
    assert written.superseded == tmp_path / f"{stem}.2.json"
    assert len(list(tmp_path.iterdir())) == 3 * 4


def test_the_spread_over_seeds_is_in_every_table() -> None:
    result = make_result()
    varied = replace(result, metrics=(replace(result.metrics[0], value=2.0, per_seed=(1.0, 2.0, 3.0)),))
    assert "| forward | 2.00 ± 1.00 [10.0, 15.0] |" in as_markdown(varied)
    assert pd.read_csv(io.StringIO(as_csv(varied)))["sd_of_seeds"][0] == 1


def test_an_edited_run_no_longer_fits_its_key(tmp_path: Path) -> None:
    path = save(make_result(), tmp_path).json
    document = json.loads(path.read_text())
    document["run"]["backbone"]["weights"] = "better.pth"
    path.write_text(json.dumps(document))
    with pytest.raises(ResultError, match="does not match its key"):
        load(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"schema": 99}', '{"schema": 1, "run": {}}'])
def test_a_file_that_is_no_result_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(ResultError, match=r"broken\.json"):
        load(path)


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        *(("metrics", {"value": value}) for value in (float("nan"), float("inf"), 1e308, -5.0, "12", None, True)),
        *(
            ("metrics", changes)
            for changes in ({"low": float("nan")}, {"chance": "x"}, {"per_seed": ["a"]}, {"name": 5})
        ),
        *(("coverage", changes) for changes in ({"used": "x"}, {"used": 10}, {"listed": 0, "used": 0})),
        *(("coverage", changes) for changes in ({"failed": [1]}, {"official": ["x"]}, {"fingerprint": 5})),
    ],
)
def test_numbers_that_cannot_be_are_refused_by_name(tmp_path: Path, part: str, changes: dict[str, object]) -> None:
    path = save(make_result(), tmp_path).json
    document = json.loads(path.read_text())
    document[part][0] |= changes
    path.write_text(json.dumps(document))  # Python writes and reads NaN
    with pytest.raises(ResultError, match=re.escape(path.name)):
        load(path)


@pytest.mark.parametrize(
    "changes", [{"provenance": 5}, {"provenance": {"versions": 5}}, {"coverage": []}, {"notes": [5]}]
)
def test_parts_of_another_kind_are_refused_by_name(tmp_path: Path, changes: dict[str, object]) -> None:
    path = save(make_result(), tmp_path).json
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ResultError, match=re.escape(path.name)):
        load(path)


def test_brackets_without_end_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ResultError, match=r"deep\.json"):
        load(path)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultError, match="--out"):
        save(make_result(), tmp_path / "file" / "results")


def test_a_folder_is_tried_out_before_anything_is_computed(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "results")
    assert not list((tmp_path / "new" / "results").iterdir())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResultError, match="--out"):
        require_writable(tmp_path / "file" / "results")


def test_numbers_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        save(make_result(float("nan")), tmp_path)
    assert not list(tmp_path.iterdir())


def test_csv_has_a_row_a_metric_and_condition(tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    path.write_text(as_csv(make_result()))
    frame = pd.read_csv(path)
    assert frame[["condition", "metric", "value"]].to_numpy().tolist() == [
        ["forward", "R@1", 12.5],
        ["reversed", "R@1", 6.0],
    ]
    assert (frame["used"] == 8).all()
    assert (frame["listed"] == 9).all()


def test_markdown_shows_intervals_chance_and_what_is_missing() -> None:
    text = as_markdown(make_result())
    assert "| forward | 12.50 [10.0, 15.0] |" in text
    assert "| chance | 5.00 |" in text
    assert "8 of 9 clips used, 1 failed" in text


def test_tables_become_parquet_that_knows_its_run(tmp_path: Path) -> None:
    result = replace(make_result(), tables={"neighbors": {"query": ["a", "b"], "rank": [1, 1]}})
    written = write_files(result, tmp_path)
    assert pd.read_parquet(written.beside[-1]).to_dict("list") == {"query": ["a", "b"], "rank": [1, 1]}
    assert "tables" not in as_json(result)
    assert from_json(as_json(result)) == result


FULL = json.loads(
    json.dumps(
        as_json(
            replace(
                make_result(),
                coverage=(
                    replace(
                        make_result().coverage[0],
                        official=(9,),
                        files=Snapshot(signatures="ab", contents=None),
                        transient=("x.mp4",),
                        damaged=("y.mp4",),
                    ),
                ),
                provenance={
                    **make_result().provenance,
                    "features_computed_by": {"cpu": 8},
                    "load_report": {"used": 3, "missing": [], "unexpected": ["text.weight"], "format": "x"},
                },
            )
        )
    )
)
"""With every field that a result can have."""


def is_shown_or_refused(document: Any) -> bool:
    """Whether the result is taken; one that is can be shown in every way, one that is not is refused in a sentence."""
    with suppress(KeyError, TypeError, ValueError, RecursionError):
        document["key"] = digest(Run(**document["run"]))  # as who made the file would
    refused = None
    try:
        result = from_json(document, Path("odd.json"))
    except ResultError as error:
        refused = str(error)
    if refused is not None:
        assert refused.startswith("odd.json: ")
        assert len(refused) < 400
        return False
    assert as_csv(result)
    assert as_markdown(result)
    assert from_json(as_json(result)) == result
    stored = StoredResult(result=result, path=Path("results") / f"{result.stem}.json")
    assert "<!doctype html>" in render(build(Contents(folder=Path("results"), results=(stored,))))
    return True


def test_the_whole_document_is_taken() -> None:
    assert is_shown_or_refused(copy.deepcopy(FULL))


@pytest.mark.parametrize("name", ODD)
def test_one_odd_value_anywhere_is_refused_or_harmless(name: str) -> None:
    taken = {place: is_shown_or_refused(altered(FULL, place, ODD[name])) for place in places(FULL)}
    for place in (("metrics",), ("coverage",), ("run",), ("metrics", 0, "value"), ("run", "dataset", "name")):
        if (name, place) not in {("number", place), ("true", place), ("text", ("run", "dataset", "name"))}:
            assert not taken[place], place


@given(
    place=st.sampled_from(list(places(FULL))),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
)
@settings(max_examples=100, deadline=None)
def test_any_value_anywhere_is_refused_or_harmless(place: Place, value: Any) -> None:
    is_shown_or_refused(altered(FULL, place, value))


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("metrics", 0, "low"), None, r"R@1 low, high: (None, 15.0)"),
        (("metrics",), [], "metrics: ()"),
        (("coverage", 0, "used"), "8", "coverage.0.used must be a whole number, got '8'"),
        (("run", "backbone", "sha256"), REMOVED, "backbone.sha256 is missing"),
        (("provenance", "decoders"), [1], "provenance.decoders is a group of keys, got [1]"),
        (("metrics", 0, "colour"), "red", "unknown key 'metrics.0.colour'"),
        (("provenance",), REMOVED, "'provenance' is missing"),
        (("run", "evaluator", "x"), DEEP, "nested at most 32 deep"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(place: Place, value: Any, says: str) -> None:
    document = altered(FULL, place, value)
    with pytest.raises(ResultError, match=re.escape(says)):
        from_json(document, Path("odd.json"))
