"""Sources made of their configuration, and the files that they consist of when a run begins.

A run that is resumed is refused other files. They are known by signatures alone (see `tvts_bench.snapshot`): a run
reads parts of its videos, so nobody knows their whole contents.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pretrain.data import index as indexing
from pretrain.data.clip_sampling import CropConfig, SegmentConfig
from pretrain.data.index import Checked, Entry, build_index
from pretrain.data.layouts import Check, check_caption, list_cc3m, list_folder, list_webvid, list_yt_temporal
from pretrain.data.sources import NARRATED, Source, SourceConfig
from pretrain.data.synthetic_source import drawn_source
from tvts_bench import provenance
from tvts_bench.atomic import remove_leftovers, whole_file
from tvts_bench.datasets.scripted_motion import DEFAULT, make_world, parts, read_manifest
from tvts_bench.errors import UserError
from tvts_bench.runtime import Progress, default_cache, silent
from tvts_bench.snapshot import signature

FILE = "source_files.parquet"
_SCHEMA = pa.schema([("source", pa.string()), ("id", pa.binary()), ("video", pa.string()), ("text", pa.string())])


def build_source(
    config: SourceConfig,
    segments: SegmentConfig,
    crop: CropConfig,
    *,
    cache: Path | None = None,
    workers: int = 0,
    progress: Progress = silent,
) -> Source:
    """List and check the samples of a source; from the cache if nothing has changed.

    Args:
        config: which.
        segments: how samples are cut out of narrated video.
        crop: how frames are cut.
        cache: of indexes, pools and the built-in synthetic set; the user's if None.
        workers: checking processes; 0 checks in this one.
        progress: shows the check.

    Raises:
        DatasetError, AnnotationError: a folder or list that is not there or malformed.
        UserError: no usable sample, or too many unreadable files.
    """
    cache = cache or default_cache()
    if config.kind == "scripted_motion_drawn":
        return drawn_source(config, segments, crop, cache=cache, progress=progress)
    candidates, check = _candidates(config, segments, cache, progress)
    key = provenance.digest(
        {
            "version": indexing.VERSION,
            "kind": config.kind,
            "segments": segments if config.kind in NARRATED else None,
            "files": [_fingerprint(entry) for entry in candidates],
        }
    )
    folder = cache / "pretrain-index"
    remove_leftovers(folder)
    index = build_index(
        candidates,
        check,
        folder / f"{config.kind}-{key[:20]}.arrow",
        max_unreadable=config.max_unreadable,
        workers=workers,
        progress=progress,
    )
    return Source(config=config, index=index, segments=segments, crop=crop)


def _candidates(
    config: SourceConfig, segments: SegmentConfig, cache: Path, progress: Progress
) -> tuple[Sequence[Entry], Callable[[Entry], Checked]]:
    """What a source lists, and what checks each of it."""
    root = _narrated_world(config, cache, progress) if config.kind == "scripted_motion" else config.root
    assert root is not None
    if config.kind == "folder":
        listed = list_folder(root)
    else:
        listing = {"cc3m": list_cc3m, "webvid": list_webvid}.get(config.kind, list_yt_temporal)
        listed = listing(root, config.annotations, config.split)
    return listed, Check(segments=segments) if config.kind in NARRATED else check_caption


def _narrated_world(config: SourceConfig, cache: Path, progress: Progress) -> Path:
    """The narrated part of a ScriptedMotion world; the default world is made in `cache` where it is missing."""
    part = f"narrated-{config.split}"
    root = config.root
    if root is None:
        world = DEFAULT if config.stories is None else DEFAULT.telling(config.stories)
        root = cache / "scripted-motion" / world.digest[:12]
        make_world(root, world, parts=(part,), progress=progress)
    manifest = read_manifest(root)
    if manifest is not None and config.stories not in (None, manifest.world.stories):
        raise UserError(
            f"the world in {root} tells other stories, {manifest.world.stories}, than the source asks for, "
            f"{config.stories}: leave stories out, or name another root"
        )
    if manifest is None or part not in manifest.parts:
        raise UserError(
            f"there is no {part} of a ScriptedMotion world in {root}; "
            f"make it with `tvts-bench make-data scripted-motion --out {root} --part {part}`"
        )
    return root / parts.folder(part)


def _fingerprint(entry: Entry) -> list[object]:
    """What an entry's files are, without reading them: any change of name, content or time is another source."""
    signatures = [signature(path) if path else None for path in (entry.path, entry.transcript)]
    return [entry.id, str(entry.path), entry.caption, str(entry.transcript or ""), *signatures]


class SourceFiles:
    """The signatures of every sample's video and text.

    Of drawn sources, which have no files, nothing, nor of the default world, which every machine makes for itself.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @classmethod
    def of(cls, sources: Sequence[Source]) -> SourceFiles:
        """As they are now."""
        rows = [
            dict(zip(_SCHEMA.names, (str(number), os.fsencode(entry.id), *_signatures(entry)), strict=True))
            for number, source in enumerate(sources)
            if source.config.root is not None
            for entry in map(source.index.__getitem__, range(len(source)))
        ]
        return cls(pa.Table.from_pylist(rows, schema=_SCHEMA))

    @classmethod
    def read(cls, folder: Path) -> SourceFiles | None:
        """What `write` left in a run's folder; None where there is nothing, or nothing whole."""
        try:
            return cls(pq.read_table(folder / FILE, columns=_SCHEMA.names))
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

    def differing(self, now: SourceFiles) -> list[str]:
        """The samples that are others `now`, are gone or are new, by id, with which of these it is."""
        if self._table.equals(now._table):
            return []
        old, new = (dict(each._rows()) for each in (self, now))
        changed = [key for key, facts in old.items() if key in new and new[key] != facts]
        gone, added = [key for key in old if key not in new], [key for key in new if key not in old]
        kinds = (("changed", changed), ("gone", gone), ("new", added))
        return [f"{name.decode(errors='backslashreplace')} ({what})" for what, keys in kinds for _, name in keys]

    def _rows(self) -> Iterator[tuple[tuple[str, bytes], tuple[str, str]]]:
        columns = (self._table.column(name).to_pylist() for name in _SCHEMA.names)
        for source, name, video, text in zip(*columns, strict=True):
            yield (source, name), (video, text)


def _signatures(entry: Entry) -> tuple[str, str]:
    """The signature of its video, and that of its transcript or the caption itself."""
    video, text = (" ".join(map(str, (path and signature(path)) or ())) for path in (entry.path, entry.transcript))
    return video, entry.caption if entry.transcript is None else text
