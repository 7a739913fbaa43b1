"""The built-in synthetic set (ScriptedMotion): real video files made from a seed, in the official layouts.

From the world's configuration to files, each module one step: world -> layouts (which clips), narration and phrases
(which stories) -> clips (what is drawn from the seed) -> render (frames) -> parts (bytes) -> make (a tree on disk). The
readers of the real data sets read it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from tvts_bench import registry
from tvts_bench.datasets.base import Dataset, DatasetError, DatasetInfo, LoadOptions, VideoRecord
from tvts_bench.datasets.scripted_motion.make import make_world
from tvts_bench.datasets.scripted_motion.parts import LABELLED, PARTS
from tvts_bench.datasets.scripted_motion.world import DEFAULT, MANIFEST, Manifest, World, read_manifest
from tvts_bench.runtime import Progress, default_cache

__all__ = [
    "DEFAULT",
    "EMBEDDED",
    "INFO",
    "LABELLED",
    "PARTS",
    "Manifest",
    "World",
    "load",
    "make_world",
    "read_manifest",
    "world_folder",
]

EMBEDDED = True
"""`load` needs no root: the world is made in the cache on first use."""

INFO = DatasetInfo(
    title="ScriptedMotion (embedded)",
    splits=("train", "val"),
    default_split="val",
    num_classes=24,
    official_sizes={},
    url="made on first use; `tvts-bench make-data scripted-motion --out DIR` writes it anywhere",
    license="as the project; digits from scikit-learn (UCI Optical Recognition of Handwritten Digits, CC BY 4.0)",
    layout="a folder written by `tvts-bench make-data scripted-motion`; nothing for the default world",
    variants=("ssv2", "k400", "ucf101", "hmdb51"),
    notes="Handwritten digits that move, turn, grow and shrink. ssv2: motion alone is the class; k400: appearance and "
    "motion; ucf101: near-duplicates in groups, three splits; hmdb51: three splits (train and test).",
)


def load(root: Path | None, options: LoadOptions, progress: Progress) -> Dataset:
    """The part of the world that looks like `options.variant` (by default ssv2), through that data set's own reader.

    Args:
        root: a folder that `make_world` wrote; None for the default world in the cache, whose parts are made when they
            are first needed: the default split's here, the other's when its records are read.
        options: `variant`, and `fold` for ucf101 and hmdb51.
        progress: shows what is being made.

    Raises:
        DatasetError: `root` holds no world or lacks the part; the cache cannot be written.
    """
    options.refuse("scripted_motion", "annotations")
    variant = options.variant or INFO.variants[0]
    sibling = registry.load("datasets", variant)
    out = root or world_folder(options.cache or default_cache())

    def read(split: str) -> Dataset:
        part = f"{variant}-{split}" if f"{variant}-{split}" in PARTS else variant
        if root is None:
            make_world(out, DEFAULT, parts=(part,), progress=progress)
        else:
            _require_part(root, part)
        return cast(Dataset, sibling.load(out / variant, replace(options, variant=None), progress))

    default_split = sibling.INFO.default_split
    dataset = read(default_split)
    manifest = read_manifest(out)
    assert manifest is not None  # else there had been nothing to read
    readers: dict[str, Callable[[], Sequence[VideoRecord]]] = {
        split: partial(lambda split: read(split).records(split), split) for split in ("train", default_split)
    }
    return replace(
        dataset,
        name=f"scripted_motion-{dataset.name}",
        info=replace(INFO, splits=tuple(readers), default_split=default_split, num_classes=len(dataset.class_names)),
        readers=readers,
        content=manifest.world.digest,
        _cache={},
    )


def world_folder(cache: Path) -> Path:
    """Where the default world lies, or will lie, in `cache`."""
    return cache / "scripted-motion" / DEFAULT.digest[:12]


def _require_part(root: Path, part: str) -> None:
    """Refuse a folder that holds no world with `part`."""
    manifest = read_manifest(root)
    if manifest is None:
        raise DatasetError(
            f"{root} holds no ScriptedMotion world (no {MANIFEST}); "
            f"write one with `tvts-bench make-data scripted-motion --out {root}`"
        )
    if part not in manifest.parts:
        raise DatasetError(
            f"the ScriptedMotion world in {root} lacks {part} (it has: {', '.join(manifest.parts) or 'nothing yet'}); "
            f"add it with `tvts-bench make-data scripted-motion --out {root} --part {part}`"
        )
