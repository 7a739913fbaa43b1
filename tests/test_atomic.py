"""A file is the old one or the new one, whole."""

import errno
import os
import platform
import stat
import subprocess
from pathlib import Path

import pytest

from tvts_bench.atomic import remove_leftovers, whole_file


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_there_stays_if_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), whole_file(path) as file:
        file.writelines([b"ne", "w"])  # type: ignore[list-item]  # fails half way
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_it_as_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with whole_file(tmp_path / "whole"):
        pass
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole")]
    assert modes[0] == modes[1]


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # as /dev/null is for root
    with pytest.raises(FileExistsError, match="something that is not a file"), whole_file(tmp_path / "pipe"):
        pass
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_what_a_killed_process_left_is_removed_and_what_others_still_write_is_not(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    alive = subprocess.Popen(["sleep", "60"])
    try:
        names = {
            "dead": f".a.pt.{platform.node()}.{dead.pid}.tmp",
            "an earlier one of this number": f".a.pt.{platform.node()}.{os.getpid()}.tmp",
            "alive": f".b.pt.{platform.node()}.{alive.pid}.tmp",
            "elsewhere": ".c.pt.another-node.1.tmp",
        }
        others = {"a.pt", ".hidden", ".notes.tmp", "notes.7.tmp"}
        for name in (*names.values(), *others):
            (tmp_path / name).touch()
        remove_leftovers(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == others | {names["alive"], names["elsewhere"]}
        remove_leftovers(tmp_path, alone=True)  # held by a lock, which no process of another machine has
        assert {path.name for path in tmp_path.iterdir()} == others | {names["alive"]}
        remove_leftovers(tmp_path / "nothing")
    finally:
        alive.kill()
        alive.wait()


def test_a_disk_that_is_full_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.bin'"), whole_file(tmp_path / "a.bin"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())
