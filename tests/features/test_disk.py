"""The lock of a store, and what the operating system refuses."""

import errno
import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tvts_bench.errors import UserError
from tvts_bench.features.store import locked, writing


def hold(folder: Path, ready: Connection) -> None:
    """Hold the lock until killed."""
    with locked(folder):
        ready.send(os.getpid())
        time.sleep(60)


def test_a_second_run_learns_who_holds_the_store(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "store"),
        pytest.raises(UserError, match=rf"another run \(process {os.getpid()} on .+\) is writing .*--cache DIR"),
        locked(tmp_path / "store"),
    ):
        pass
    with locked(tmp_path / "store"):
        assert (tmp_path / "store").is_dir()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, there = context.Pipe(duplex=False)
    holder = context.Process(target=hold, args=(tmp_path, there))
    holder.start()
    pid = ready.recv()
    with pytest.raises(UserError, match=f"process {pid}"), locked(tmp_path):
        pass
    os.kill(pid, signal.SIGKILL)
    holder.join()
    with locked(tmp_path):
        assert (tmp_path / "owner.json").is_file()
    assert not (tmp_path / "owner.json").exists()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "the disk is full (No space left on device) while writing features to /store"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "no permission to write features to /store (Read-only file system)"),
        (errno.EACCES, "no permission to write features to /store"),
        (errno.EIO, "cannot write features to /store (Input/output error)"),
    ],
)
def test_what_the_system_refuses_is_one_sentence_with_a_way_out(code: int, words: str) -> None:
    with pytest.raises(UserError) as caught, writing(Path("/store")):
        raise OSError(code, os.strerror(code))
    assert words in str(caught.value)
    assert "--cache DIR" in str(caught.value)
