"""Whether the files of a split are still those that something was computed from.

Told by signature, one `stat` a file and no read of its content. Where the content is known too, because whoever
computed has read the files anyway, a copy on another disk or machine is recognised as equal by reading it once.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tvts_bench.provenance import file_sha256

UNREADABLE = ""  # in place of the sha256 of what cannot be read


class FileSignature(NamedTuple):
    """What changes with a file. The time of the inode's change cannot be set, so it tells of equal size and mtime."""

    size: int  # bytes
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The files of a split as they were before they were read."""

    signatures: str  # sha256 (hex) over ids and signatures, in record order
    contents: str | None = None  # sha256 (hex) over ids and each file's sha256; None: not all are known


def signature(path: Path) -> FileSignature | None:
    """The file's signature; None for one that is missing or may not be read."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a third faster than Path.stat
    except (OSError, ValueError):  # ValueError: a name with a null byte
        return None
    if not os.access(path, os.R_OK):
        return None
    return FileSignature(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def file_signatures(files: Mapping[str, Path]) -> dict[str, FileSignature | None]:
    """Signature of each id, in the order of `files`: id -> path."""
    return {name: signature(path) for name, path in files.items()}


def snapshot(signatures: Mapping[str, FileSignature | None], contents: Mapping[str, str] | None = None) -> Snapshot:
    """The snapshot of a split.

    Args:
        signatures: id -> signature of every file of the split, in record order, taken before the files were read.
        contents: id -> sha256 (hex) of the bytes of the files that were read.
    """
    listed = None
    if contents is not None and all(each is None or name in contents for name, each in signatures.items()):
        # What was missing counts as missing, whatever is known of it.
        listed = _digest((name, None if each is None else contents[name]) for name, each in signatures.items())
    return Snapshot(
        signatures=_digest((name, None if each is None else tuple(each)) for name, each in signatures.items()),
        contents=listed,
    )


def content_sha256(path: Path) -> str:
    """sha256 (hex) of a file's bytes; `UNREADABLE` for one that is missing, not regular or may not be read."""
    try:
        return file_sha256(path)
    except (OSError, ValueError):
        return UNREADABLE


def is_unchanged(stored: Snapshot, files: Mapping[str, Path]) -> bool:
    """Whether `files` (id -> path, in record order) are those that `stored` was taken of.

    Where a signature differs and the contents are known, all files are read once to compare them.
    """
    signatures = file_signatures(files)
    if snapshot(signatures).signatures == stored.signatures:
        return True
    if stored.contents is None:
        return False
    read = {name: content_sha256(path) for name, path in files.items() if signatures[name] is not None}
    contents = {name: content for name, content in read.items() if content != UNREADABLE}
    return snapshot(signatures, contents).contents == stored.contents


def _digest(pairs: Iterable[tuple[str, object]]) -> str:
    state = hashlib.sha256()
    for name, value in pairs:
        state.update(f"{name}\t{value}\0".encode(errors="surrogateescape"))
    return state.hexdigest()
