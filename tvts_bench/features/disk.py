"""What a disk can refuse, said in one sentence; and the lock that keeps two runs from writing one store."""

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tvts_bench.features.base import FeatureError

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Whatever the operating system refuses while `folder` is written becomes one clear sentence.

    Raises:
        FeatureError: no space, no permission, or another reason of the operating system.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise FeatureError(
                f"the disk is full ({error.strerror}) while writing features to {folder}: what was finished is kept, "
                "so free some space and run again, or choose another disk with --cache DIR"
            ) from error
        why = "no permission to write" if error.errno in NO_PERMISSION else "cannot write"
        raise FeatureError(
            f"{why} features to {folder} ({error.strerror or error}): choose another place with --cache DIR"
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The operating system releases it when this process ends, however it ends.

    Raises:
        FeatureError: another run holds it, or the folder cannot be written.
    """
    lock, owner = FileLock(folder / "lock", timeout=0), folder / "owner.json"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:  # an OSError, so it must not get as far as `writing`
            raise FeatureError(
                f"another run{_owner(owner)} is writing the feature store {folder}: "
                "wait until it has ended, or use another store with --cache DIR"
            ) from error
    try:
        with writing(folder):
            owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        with suppress(OSError):
            owner.unlink()
        lock.release()


def _owner(path: Path) -> str:
    """Who wrote the file, as words to put after a noun; empty where it cannot be told."""
    try:
        owner = json.loads(path.read_text())
        return f" (process {owner['pid']} on {owner['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
