"""A snapshot tells files that were replaced from files that are the same, and a copy from another content."""

import os
import shutil
from pathlib import Path

import pytest

from tvts_bench.datasets.base import VideoRecord
from tvts_bench.datasets.snapshot import file_signatures, is_unchanged, snapshot
from tvts_bench.provenance import file_sha256

Records = tuple[VideoRecord, ...]


@pytest.fixture
def records(tmp_path: Path) -> Records:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_bytes(name.encode() * 100)
    return tuple(VideoRecord(id=name, path=folder / name, label=0) for name in ("a", "b", "missing"))


def contents(records: Records) -> dict[str, str]:
    return {record.id: file_sha256(record.path) for record in records if record.path.exists()}


def test_files_that_nobody_touched_are_unchanged(records: Records) -> None:
    assert is_unchanged(snapshot(file_signatures(records)), records)


def test_other_content_of_equal_size_and_mtime_is_a_change(records: Records) -> None:
    before, times = snapshot(file_signatures(records), contents(records)), records[0].path.stat()
    records[0].path.write_bytes(b"c" * 100)
    os.utime(records[0].path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not is_unchanged(before, records)


def test_a_file_that_appears_or_disappears_is_a_change(records: Records) -> None:
    before = snapshot(file_signatures(records), contents(records))
    records[2].path.write_bytes(b"now here")
    assert not is_unchanged(before, records)
    records[2].path.unlink()
    assert is_unchanged(before, records)
    records[1].path.unlink()
    assert not is_unchanged(before, records)


def test_two_files_that_change_places_are_a_change(records: Records) -> None:
    before = snapshot(file_signatures(records), contents(records))
    first, second = records[0].path, records[1].path
    first.rename(first.with_name("c"))
    second.rename(first)
    first.with_name("c").rename(second)
    assert not is_unchanged(before, records)


def test_a_copy_is_unchanged_only_where_the_contents_are_known(records: Records, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "videos", tmp_path / "copy")
    copies = tuple(VideoRecord(id=record.id, path=tmp_path / "copy" / record.path.name, label=0) for record in records)
    signatures = file_signatures(records)
    assert is_unchanged(snapshot(signatures, contents(records)), copies)
    assert not is_unchanged(snapshot(signatures), copies)
    assert not is_unchanged(snapshot(signatures, {"a": contents(records)["a"]}), copies)
