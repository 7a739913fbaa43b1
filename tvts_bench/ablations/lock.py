"""One runner per cell: a lock on OUT/cells/KEY/claim, held by the runner and by the command it has started.

A lock of the operating system (flock), not a file that must be removed: it ends when the last process that holds it
does, so a crash leaves nothing stale, and no clock or process number of another machine has to be trusted. The started
command inherits it, so a command that outlives a runner which was killed still keeps others from its folder. On NFS,
Linux passes such locks to the server; where a file system has none, the cell is refused rather than run twice.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tvts_bench.errors import UserError

_ATTEMPTS, _PAUSE = 5, 0.05  # a look at who holds it takes it for a moment


@contextmanager
def cell_lock(folder: Path) -> Iterator[int | None]:
    """The open file, for commands to inherit, while the cell in `folder` is ours; None where it is another's.

    Raises:
        UserError: the file system has no locks.
    """
    path = folder / "claim"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if not _locked(file.fileno(), path):
            yield None
            return
        file.truncate(0)
        json.dump({"host": socket.gethostname(), "process": os.getpid(), "since": time.time()}, file)
        file.flush()
        yield file.fileno()


def is_locked(folder: Path) -> bool:
    """Whether somebody runs the cell in `folder` now.

    Raises:
        UserError: the file system has no locks.
    """
    path = folder / "claim"
    try:
        with path.open("rb") as file:
            return not _try(file.fileno(), path, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _locked(number: int, path: Path) -> bool:
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE)
        if _try(number, path, fcntl.LOCK_EX):
            return True
    return False


def _try(number: int, path: Path, kind: int) -> bool:
    try:
        fcntl.flock(number, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UserError(
            f"{path} cannot be locked ({error.strerror}), and without locks a cell could run twice: give an --out on "
            "another file system"
        ) from error
    return True
