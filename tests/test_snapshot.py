"""A snapshot tells files that were replaced from files that are the same, and a copy from another content."""

import os
import shutil
from pathlib import Path

import pytest

from tvts_bench.provenance import file_sha256
from tvts_bench.snapshot import file_signatures, is_unchanged, snapshot

Files = dict[str, Path]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_bytes(name.encode() * 100)
    return {name: folder / name for name in ("a", "b", "missing")}


def contents(files: Files) -> dict[str, str]:
    return {name: file_sha256(path) for name, path in files.items() if path.exists()}


def test_files_that_nobody_touched_are_unchanged(files: Files) -> None:
    assert is_unchanged(snapshot(file_signatures(files)), files)


def test_other_content_of_equal_size_and_mtime_is_a_change(files: Files) -> None:
    before, times = snapshot(file_signatures(files), contents(files)), files["a"].stat()
    files["a"].write_bytes(b"c" * 100)
    os.utime(files["a"], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not is_unchanged(before, files)


def test_a_file_that_appears_or_disappears_is_a_change(files: Files) -> None:
    before = snapshot(file_signatures(files), contents(files))
    files["missing"].write_bytes(b"now here")
    assert not is_unchanged(before, files)
    files["missing"].unlink()
    assert is_unchanged(before, files)
    files["b"].unlink()
    assert not is_unchanged(before, files)


def test_two_files_that_change_places_are_a_change(files: Files) -> None:
    before = snapshot(file_signatures(files), contents(files))
    first, second = files["a"], files["b"]
    first.rename(first.with_name("c"))
    second.rename(first)
    first.with_name("c").rename(second)
    assert not is_unchanged(before, files)


def test_a_copy_is_unchanged_only_where_the_contents_are_known(files: Files, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "videos", tmp_path / "copy")
    copies = {name: tmp_path / "copy" / path.name for name, path in files.items()}
    signatures = file_signatures(files)
    assert is_unchanged(snapshot(signatures, contents(files)), copies)
    assert not is_unchanged(snapshot(signatures), copies)
    assert not is_unchanged(snapshot(signatures, {"a": contents(files)["a"]}), copies)
