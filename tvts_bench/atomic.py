"""Files that are there whole or not at all, whatever happens while they are written."""

import errno
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

SUFFIX = ".tmp"  # of what a process that was killed leaves behind


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Writes beside `path`, which after the `with` block appears, or is replaced, complete and on disk.

    If the block raises, `path` is as it was. Errors of the system are left to the caller, who knows what to advise.

    Raises:
        FileExistsError: `path` is a device or the like: a file in its place would surprise others.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):  # the system itself refuses folders
        raise FileExistsError(errno.EEXIST, "there is something that is not a file", str(path))
    temporary = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}{SUFFIX}")  # nodes may share the folder
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # a disk that is full says so to a write, which knows no name
        raise


def remove_leftovers(folder: Path, *, alone: bool = False) -> None:
    """Remove what processes that were killed while they wrote to `folder` have left there (see `whole_file`).

    Called before this process writes there. What may be another's who still writes is left alone.

    Args:
        folder: need not exist.
        alone: no process of any machine but this one writes to it, as whoever holds its lock knows.
    """
    here = platform.node()
    for path in folder.glob(f".*{SUFFIX}"):
        written_by = re.fullmatch(r"\..+\.([0-9]+)", path.name.removesuffix(SUFFIX))
        if written_by is None:
            continue
        process = int(written_by[1])
        is_ours = path.name.endswith(f".{here}.{process}{SUFFIX}")
        if (is_ours and not _is_another(process)) or (alone and not is_ours):
            with suppress(OSError):
                path.unlink()


def _is_another(process: int) -> bool:
    """Whether it is a process that runs on this machine, other than this one."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def sync_folder(folder: Path) -> None:
    """Make renamings in `folder` outlast a power cut, too, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
