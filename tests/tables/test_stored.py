"""Results are found by the content of their run, and only while they still say what a run would measure."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tables.made import coverage, retrieval, stored
from tvts_bench.datasets.base import Dataset, DatasetInfo, VideoRecord
from tvts_bench.results import Result
from tvts_bench.tables.stored import read_stored

HITS = [[True], [False]]


def dataset(root: Path, clips: tuple[str, ...] = ("gone0",)) -> Dataset:
    info = DatasetInfo(
        title="-",
        splits=("val",),
        default_split="val",
        num_classes=1,
        official_sizes={},
        url="-",
        license="-",
        layout="-",
    )
    records = tuple(VideoRecord(id=clip, path=root / "videos" / f"{clip}.mp4", label=0) for clip in clips)
    return Dataset(name="x", root=root, class_names=("a",), info=info, readers={"val": lambda: records})


def test_a_result_is_found_by_its_run_and_no_other(tmp_path: Path) -> None:
    result = retrieval(HITS)
    path = stored(result, tmp_path).path
    there = read_stored(tmp_path)
    hit = there.find(result.run, dataset(tmp_path))
    assert hit is not None
    assert hit.path == path
    others = (
        retrieval(HITS, backbone="b"),
        retrieval(HITS, dataset="scripted_motion-k400"),
        retrieval(HITS, dtype="bf16"),
        retrieval(HITS, clip={"num_frames": 8}),
    )
    assert all(there.find(other.run, dataset(tmp_path)) is None for other in others)


def test_results_that_only_look_alike_are_named(tmp_path: Path) -> None:
    path = stored(retrieval(HITS, dtype="fp32"), tmp_path).path
    there = read_stored(tmp_path)
    assert there.others(retrieval(HITS, dtype="bf16").run) == (path,)
    assert there.others(retrieval(HITS, backbone="b").run) == ()
    assert there.others(retrieval(HITS).run) == (), "the result itself is no other"


def test_the_folder_of_runs_is_read_as_well_as_that_of_other_commands(tmp_path: Path) -> None:
    first, second = retrieval(HITS, backbone="a"), retrieval(HITS, backbone="b")
    stored(first, tmp_path)
    stored(second, tmp_path / "runs")
    assert set(read_stored(tmp_path).by_key) == {first.run.key, second.run.key}
    assert read_stored(tmp_path / "nothing").by_key == {}


def test_what_another_version_made_is_ignored_with_a_sentence(tmp_path: Path) -> None:
    old = retrieval(HITS, version="0.0.1")
    stored(old, tmp_path)
    there = read_stored(tmp_path)
    assert there.find(old.run, dataset(tmp_path)) is None
    (sentence,) = there.refused
    assert "made by tvts-bench 0.0.1" in sentence


@pytest.mark.parametrize("damage", ["not json", "schema", "edited"])
def test_what_cannot_be_trusted_is_ignored_with_a_sentence(damage: str, tmp_path: Path) -> None:
    path = stored(retrieval(HITS), tmp_path).path
    document = json.loads(path.read_text())
    document["schema"] = 99 if damage == "schema" else 1
    document["run"]["decoder"] = "another" if damage == "edited" else document["run"]["decoder"]
    path.write_text("{" if damage == "not json" else json.dumps(document))
    there = read_stored(tmp_path)
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
    (kept,) = read_stored(tmp_path).by_key.values()
    assert kept.result.metric("R@1").value == 99.0


def test_a_result_that_missed_clips_is_taken_until_one_of_them_changes(tmp_path: Path) -> None:
    result = retrieval(HITS, parts=(coverage("val", 1, 2),))
    data = dataset(tmp_path / "data")
    path = stored(result, tmp_path / "out").path
    assert read_stored(tmp_path / "out").find(result.run, data) is not None
    video = data.records("val")[0].path
    video.parent.mkdir(parents=True)
    video.write_bytes(b"there now")
    later = path.stat().st_mtime + 10
    os.utime(path, (later, later))  # as if the file had been there before
    assert read_stored(tmp_path / "out").find(result.run, data) is not None
    os.utime(path, (later - 1000, later - 1000))
    assert read_stored(tmp_path / "out").find(result.run, data) is None
