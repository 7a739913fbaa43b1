"""Features of files that are copied, renamed or replaced, or that arrive later."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.feature_world import Linear, Unusable, run, write_video
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.provenance import file_sha256
from tvts_bench.runtime import Runtime
from tvts_bench.snapshot import file_signatures, is_unchanged, snapshot


def own_files(records: list[VideoRecord], folder: Path) -> list[VideoRecord]:
    """The same records with a file of its own each, copied to `folder`."""
    folder.mkdir()
    return [replace(each, path=Path(shutil.copyfile(each.path, folder / f"{each.id}.mp4"))) for each in records]


@pytest.mark.parametrize("number", [0, 2])
def test_a_copy_of_the_data_costs_a_hash_and_not_an_extraction(
    records: list[VideoRecord], runtime: Runtime, tmp_path: Path, number: int
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(records[0].path.read_bytes()[:300])
    records[5] = replace(records[5], path=broken)
    ours = own_files(records[:100], tmp_path / "ours")
    ours[9] = replace(ours[9], path=tmp_path / "ours" / "absent.mp4")
    first = run(Linear(), ours, replace(runtime, workers=number))
    assert list(first.failed) == [ours[5].id, ours[9].id]
    copies = own_files(records[:100], tmp_path / "copies")
    copies[9] = replace(copies[9], path=tmp_path / "copies" / "absent.mp4")
    second = run(Unusable(), copies, runtime)
    assert second.values.tobytes() == first.values.tobytes()
    assert (second.failed, second.computed, second.reused) == (first.failed, 0, 100)
    assert run(Unusable(), ours, runtime).computed == 0
    assert first.files is not None
    assert second.files is not None
    assert first.files.contents == second.files.contents is not None
    assert first.files.signatures != second.files.signatures


def test_videos_that_change_names_are_computed_again(
    records: list[VideoRecord], runtime: Runtime, tmp_path: Path
) -> None:
    ours = own_files(records[:70], tmp_path / "ours")
    first = run(Linear(), ours, runtime)
    one, other, spare = ours[0].path, ours[1].path, tmp_path / "spare"
    one.rename(spare)
    other.rename(one)
    spare.rename(other)
    second = run(Linear(), ours, runtime)
    assert second.computed == 64
    assert second.values[0].tobytes() == first.values[1].tobytes()
    assert second.values[1].tobytes() == first.values[0].tobytes()


@pytest.mark.parametrize("number", [0, 2])
def test_features_say_which_files_they_are_of(records: list[VideoRecord], runtime: Runtime, number: int) -> None:
    records = records[:5]
    records[3] = replace(records[3], path=records[3].path.with_name("absent.mp4"))
    features = run(Linear(), records, replace(runtime, workers=number))
    paths = {record.id: record.path for record in records}
    contents = {name: file_sha256(path) for name, path in paths.items() if path.exists()}
    assert features.files == snapshot(file_signatures(paths), contents)
    assert is_unchanged(features.files, paths)
    write_video(records[0].path, 77)
    assert not is_unchanged(features.files, paths)


def test_files_that_arrive_later_are_picked_up(records: list[VideoRecord], runtime: Runtime, tmp_path: Path) -> None:
    late = tmp_path / "late.mp4"
    records[149] = replace(records[149], path=late)
    assert list(run(Linear(), records, runtime).failed) == [records[149].id]
    write_video(late, 3)
    features = run(Linear(), records, runtime)
    assert not features.failed
    assert features.computed == 150 - 128
