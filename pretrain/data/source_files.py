"""The files that a run's sources consist of, as they are when it begins: a run that is resumed asks for the same.

Signatures alone (see `tvts_bench.snapshot`): a run reads parts of its videos, so nobody knows their whole contents.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pretrain.data.drawn import StoryIndex
from pretrain.data.index import Entry
from pretrain.data.sources import Source
from tvts_bench.atomic import whole_file
from tvts_bench.snapshot import signature

FILE = "source_files.parquet"
_COLUMNS = ("source", "id", "video", "text")


class SourceFiles:
    """Every sample's video and text, told by signature.

    Of drawn sources, which have no files, nothing, nor of the default world, which every machine makes for itself.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @classmethod
    def of(cls, sources: Sequence[Source]) -> "SourceFiles":
        """As they are now."""
        rows = [
            (str(number), entry.id.encode(errors="surrogateescape"), _signature(entry.path), _text(entry))
            for number, source in enumerate(sources)
            if not _is_made_here(source)
            for entry in (source.index[place] for place in range(len(source)))
        ]
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(_COLUMNS)
        kinds = (pa.string(), pa.binary(), pa.string(), pa.string())
        arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
        return cls(pa.Table.from_arrays(arrays, names=list(_COLUMNS)))

    @classmethod
    def read(cls, folder: Path) -> "SourceFiles | None":
        """What `write` left in a run's folder; None where there is nothing, or nothing whole."""
        try:
            return cls(pq.read_table(folder / FILE, columns=list(_COLUMNS)))
        except (OSError, pa.ArrowException):
            return None

    def write(self, folder: Path) -> None:
        """Leave it in a run's folder; of nothing, no file.

        Raises:
            OSError: it cannot be written.
        """
        if not len(self._table):
            (folder / FILE).unlink(missing_ok=True)
            return
        with whole_file(folder / FILE) as file:
            pq.write_table(self._table, file, compression="zstd")

    def __len__(self) -> int:
        return len(self._table)

    def differing(self, now: "SourceFiles") -> list[str]:
        """The samples that are others `now`, are gone or are new, by id, with which of these it is."""
        if self._table.equals(now._table):
            return []
        old, new = (dict(each._rows()) for each in (self, now))
        changed = [key for key, facts in old.items() if key in new and new[key] != facts]
        gone, added = [key for key in old if key not in new], [key for key in new if key not in old]
        kinds = (("changed", changed), ("gone", gone), ("new", added))
        return [f"{name.decode(errors='backslashreplace')} ({what})" for what, keys in kinds for _, name in keys]

    def _rows(self) -> Iterator[tuple[tuple[str, bytes], tuple[str, str]]]:
        columns = (self._table.column(name).to_pylist() for name in _COLUMNS)
        for source, name, video, text in zip(*columns, strict=True):
            yield (source, name), (video, text)


def _is_made_here(source: Source) -> bool:
    made = source.config.kind == "scripted_motion" and source.config.root is None
    return made or isinstance(source.index, StoryIndex)


def _signature(path: Path) -> str:
    facts = signature(path)
    return "" if facts is None else " ".join(map(str, facts))


def _text(entry: Entry) -> str:
    return entry.caption if entry.transcript is None else _signature(entry.transcript)
