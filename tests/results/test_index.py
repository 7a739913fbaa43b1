"""Results are found by the content of their run, the newest of each."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.results import retrieval, stored
from tvts_bench.results import Result
from tvts_bench.results.index import read_index
from tvts_bench.snapshot import Snapshot

HITS = [[True], [False]]


def test_a_result_is_found_by_its_run_and_no_other(tmp_path: Path) -> None:
    result = retrieval(HITS)
    path = stored(result, tmp_path).path
    there = read_index(tmp_path)
    assert there.by_key[result.run.key].path == path
    others = (
        retrieval(HITS, backbone="b"),
        retrieval(HITS, dataset="scripted_motion-k400"),
        retrieval(HITS, dtype="bf16"),
        retrieval(HITS, clip={"num_frames": 8}),
    )
    assert not {other.run.key for other in others} & there.by_key.keys()


def test_results_that_only_look_alike_are_named(tmp_path: Path) -> None:
    path = stored(retrieval(HITS, dtype="fp32"), tmp_path).path
    there = read_index(tmp_path)
    assert there.others(retrieval(HITS, dtype="bf16").run) == (path,)
    assert there.others(retrieval(HITS, backbone="b").run) == ()
    assert there.others(retrieval(HITS).run) == (), "the result itself is no other"


def test_the_folder_of_runs_is_read_as_well_as_that_of_other_commands(tmp_path: Path) -> None:
    first, second = retrieval(HITS, backbone="a"), retrieval(HITS, backbone="b")
    stored(first, tmp_path)
    stored(second, tmp_path / "runs")
    assert set(read_index(tmp_path).by_key) == {first.run.key, second.run.key}
    assert read_index(tmp_path / "nothing").by_key == {}


def test_what_another_version_made_is_ignored_with_a_sentence(tmp_path: Path) -> None:
    old = retrieval(HITS, version="0.0.1")
    stored(old, tmp_path)
    there = read_index(tmp_path)
    assert old.run.key not in there.by_key
    (sentence,) = there.refused
    assert "made by tvts-bench 0.0.1" in sentence


@pytest.mark.parametrize("damage", ["not json", "schema", "edited"])
def test_what_cannot_be_trusted_is_ignored_with_a_sentence(damage: str, tmp_path: Path) -> None:
    path = stored(retrieval(HITS), tmp_path).path
    document = json.loads(path.read_text())
    document["schema"] = 99 if damage == "schema" else 1
    document["run"]["decoder"] = "another" if damage == "edited" else document["run"]["decoder"]
    path.write_text("{" if damage == "not json" else json.dumps(document))
    there = read_index(tmp_path)
    assert there.by_key == {}
    (sentence,) = there.refused
    assert sentence.startswith("ignored: ")
    assert path.name in sentence


def test_numbers_that_were_set_aside_stay_aside(tmp_path: Path) -> None:
    first: Result = retrieval(HITS)
    stored(first, tmp_path)
    newer = replace(first, metrics=(replace(first.metrics[0], value=99.0), first.metrics[1]))
    stored(newer, tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2
    (kept,) = read_index(tmp_path).by_key.values()
    assert kept.result.metric("R@1").value == 99.0


def test_of_two_results_of_one_run_the_newest_is_taken(tmp_path: Path) -> None:
    """A command wrote one into the folder, a table measured again and wrote the other into its runs, or the reverse."""
    hour = {name: {"created": f"2026-01-01T0{hour}:00:00+00:00"} for hour, name in enumerate(("first", "second"))}
    for newest, other in ((tmp_path / "a" / "runs", tmp_path / "a"), (tmp_path / "b", tmp_path / "b" / "runs")):
        for folder, name in ((other, "first"), (newest, "second")):
            result = retrieval(HITS)
            stored(replace(result, provenance={**result.provenance, **hour[name]}), folder)
        there = read_index(newest.parent if newest.name == "runs" else newest)
        assert there.by_key[retrieval(HITS).run.key].path.parent == newest


def test_numbers_of_other_videos_are_set_aside_even_where_they_are_equal(tmp_path: Path) -> None:
    """Those of an older version, which did not say of which files, and of a copy with the same contents are not."""
    old = retrieval(HITS)

    def of(signatures: str, contents: str | None) -> Result:
        files = Snapshot(signatures=signatures, contents=contents)
        return replace(old, coverage=tuple(replace(item, files=files) for item in old.coverage))

    stored(old, tmp_path)
    for result in (of("a", "x"), of("b", "x"), of("b", None)):
        stored(result, tmp_path)
        assert len(list(tmp_path.glob("*.json"))) == 1
    stored(of("c", "y"), tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 2
