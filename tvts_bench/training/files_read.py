"""Which files a training has read, and whether they are still those: by signature, else by content.

A training's weights come from the files that it has read so far, whatever their names. Whoever reads a file for the
first time takes its sha256 as well, so a copy of the data on another disk is known as equal: it is read once, when the
training is resumed there.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tvts_bench.distributed import Rank, all_gather_objects
from tvts_bench.snapshot import (
    UNREADABLE,
    FileSignature,
    Snapshot,
    content_sha256,
    file_signatures,
    signature,
    snapshot,
)


class FilesRead:
    """The files of the splits that a training depends on: as they were before it, and the contents of those it read."""

    def __init__(self, splits: Mapping[str, Mapping[str, Path]] | None = None) -> None:
        """`splits`: name -> id -> path, first the one that is trained on. Signatures are of now: before any is read."""
        self._paths = {name: dict(files) for name, files in (splits or {}).items()}
        self._signatures = {name: file_signatures(files) for name, files in self._paths.items()}
        self._contents: dict[str, dict[str, str]] = {name: {} for name in self._paths}

    def add(self, contents: Mapping[str, str], split: str | None = None) -> None:
        """What files of `split` (None: the one that is trained on) held: id -> sha256 (hex), or `UNREADABLE`."""
        if self._paths:
            self._contents[split or next(iter(self._paths))].update(contents)

    def knows(self, names: Iterable[str], split: str) -> bool:
        """Whether the contents of all `names` (ids of `split`) were added."""
        return all(name in self._contents[split] for name in names)

    def snapshot(self, split: str) -> Snapshot:
        """Of all the split's files; their contents are known where each was read."""
        read = {name: content for name, content in self._contents[split].items() if content != UNREADABLE}
        return snapshot(self._signatures[split], read)

    def text(self) -> str:
        """All of it as JSON, for `changed` and `restore`."""
        return json.dumps({"signatures": self._signatures, "contents": self._contents})

    def changed(self, text: str, rank: Rank) -> dict[str, int]:
        """Split -> how many of the files that had been read when `text` was written are others now.

        Every rank looks at its share, and at contents only where a signature differs. All ranks must call this.
        """
        before = json.loads(text)
        mine_changed: dict[str, int] = {}
        for split, contents in before["contents"].items():
            signatures, paths = before["signatures"][split], self._paths.get(split, {})
            mine = list(contents)[rank.rank :: rank.world_size]
            mine_changed[split] = sum(not _is_same(paths.get(name), signatures[name], contents[name]) for name in mine)
        shares = all_gather_objects(mine_changed, rank.world_size)
        return {split: count for split in mine_changed if (count := sum(share[split] for share in shares))}

    def restore(self, text: str) -> None:
        """Restore the contents of what an earlier part of the training has read, and which has not `changed`."""
        for split, contents in json.loads(text)["contents"].items():
            self._contents[split].update(contents)


def _is_same(path: Path | None, before: list[int] | None, content: str) -> bool:
    if path is None:
        return False
    now = signature(path)
    if before is not None and now == FileSignature(*before):
        return True
    return content_sha256(path) == content if now is not None else before is None
