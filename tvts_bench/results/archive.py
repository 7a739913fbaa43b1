"""A published grid as one file: a zip archive, read without unpacking it as the folder that it was made of.

OUT/GRID.zip holds members named as the files below OUT are: `grids/GRID.json`, `cells/KEY/cell.json` and so on.
"""

import errno
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from tvts_bench.regular_file import MOST_BYTES, open_regular, read_regular

SUFFIX = ".zip"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the time of every member, so that equal content makes equal bytes
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def is_archive(root: Path) -> bool:
    """Whether `root` is an archive rather than a folder."""
    return root.suffix == SUFFIX and root.is_file()


def read_below(root: Path, name: str) -> bytes:
    """The content of the file `name` below `root`.

    Args:
        root: a folder or an archive.
        name: relative to it, with slashes.

    Returns:
        At most `MOST_BYTES`, whatever size an archive claims.

    Raises:
        OSError: no such file, one that is not regular, an archive that is damaged, or no permission.
    """
    if not is_archive(root):
        return read_regular(root / name)
    with _opened(root) as archive:
        try:
            member = archive.getinfo(name)
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "there is no such file in it", f"{root}/{name}") from None
        if member.file_size > MOST_BYTES:
            raise OSError(errno.EFBIG, f"it is larger than {MOST_BYTES >> 20:,} MiB", f"{root}/{name}")
        return archive.read(member)


@contextmanager
def _opened(root: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, open for reading.

    Raises:
        OSError: it is damaged, or holds what cannot be unpacked.
    """
    try:
        with open_regular(root) as file, zipfile.ZipFile(file) as archive:
            yield archive
    except _DAMAGED as error:
        raise OSError(errno.EIO, f"the archive is damaged ({error})", str(root)) from error


def names_below(root: Path, folder: str, suffix: str) -> tuple[str, ...]:
    """Names, without their suffix, of the files directly in a folder below `root`.

    Args:
        root: a folder or an archive.
        folder: relative to it, with slashes.
        suffix: of the files: ".json".

    Returns:
        Sorted; empty where there is no such folder.

    Raises:
        OSError: an archive that is damaged.
    """
    if not is_archive(root):
        return tuple(sorted(path.stem for path in (root / folder).glob(f"*{suffix}")))
    with _opened(root) as archive:
        inside = [PurePosixPath(name) for name in archive.namelist()]
    return tuple(sorted(path.stem for path in inside if str(path.parent) == folder and path.suffix == suffix))


def write_archive(file: IO[bytes], members: Mapping[str, bytes]) -> None:
    """Write `members` (name -> content) as an archive; the same members make the same bytes."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED, compresslevel=9)
