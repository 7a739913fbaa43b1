"""Reading files that users name: regular ones only, and no more of one than fits in memory.

Opening a named pipe waits for a writer, and a device may have no end. Everything that reads a list, a transcript or
another small file reads it here, so that a link to such a thing is one sentence and not a hang.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

MOST_BYTES = 1 << 30  # 1 GiB: the largest official list has a tenth of it

TRANSIENT_ERRORS = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
"""What the system was short of, or a disk that did not answer: the file is not at fault, another try may succeed."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_regular(path: Path) -> None:
    """Refuse what is there and not a regular file, links followed, for readers that open `path` themselves.

    Raises:
        OSError: It is missing, a folder, a named pipe, a socket or a device; or a link that leads in a circle.
    """
    _require_regular(path, path.stat().st_mode)


def open_regular(path: Path) -> BufferedReader:
    """A regular file, open for reading.

    Raises:
        OSError: As `require_regular`; or no permission.
    """
    require_regular(path)
    # Something else may have taken its place since: then opening does not wait, and the check is repeated.
    file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")  # noqa: PTH123, SIM115
    try:
        _require_regular(path, os.fstat(file.fileno()).st_mode)
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file.

    Args:
        path: Links are followed.
        most: Bytes above which it is refused; whatever size the file claims, no more than these are read.

    Raises:
        OSError: As `open_regular`; or larger than `most`.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size) if size <= most else b""
        while size <= most and (more := file.read(1 << 16)):  # it has grown, or the system keeps no size of it
            data += more
            size = len(data)
    if size <= most:
        return data
    raise OSError(errno.EFBIG, f"it is larger than {most >> 20:,} MiB", str(path))


def is_transient(error: BaseException) -> bool:
    """Whether the system was at fault and not the file, in `error` or in what caused it: another try may succeed."""
    return any(
        isinstance(each, MemoryError | TimeoutError) or getattr(each, "errno", None) in TRANSIENT_ERRORS
        for each in (error, error.__cause__)
    )


def _require_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(errno.EINVAL, f"it is not a file but {kind}", str(path))
