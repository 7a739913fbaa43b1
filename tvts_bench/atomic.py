"""Files that are there whole or not at all, whatever happens while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

SUFFIX = ".tmp"  # of what a process that was killed leaves behind


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """`with whole_file(path) as file:` writes beside `path`, which then appears, or is replaced, complete and on disk.

    If the block raises, `path` is as it was. Errors of the system are left to the caller, who knows what to advise.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{SUFFIX}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
