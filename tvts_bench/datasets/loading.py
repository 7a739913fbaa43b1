"""Load a data set by its name on the command line."""

import logging
import os
from pathlib import Path
from typing import cast

from tvts_bench import registry
from tvts_bench.datasets.base import Dataset, DatasetError, DatasetInfo, LoadOptions
from tvts_bench.runtime import Progress, silent

log = logging.getLogger(__name__)


def dataset_info(name: str) -> DatasetInfo:
    """What the plug-in says of the data set `name` (any `:variant` is ignored)."""
    return cast(DatasetInfo, registry.load("datasets", name.partition(":")[0]).INFO)


def load_dataset(
    name: str,
    root: str | os.PathLike[str] | None = None,
    *,
    annotations: str | os.PathLike[str] | None = None,
    fold: int = 1,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
) -> Dataset:
    """The data set `name` (or `name:variant`) whose official distribution lies under `root`.

    Args:
        name: of the plug-in, with a variant of it after a colon.
        root: the folder that holds it; None for a built-in set.
        annotations: a list or folder of lists in place of those under the root.
        fold: the official split, where there are several.
        cache: where a built-in set is made on first use; None: the default cache.
        progress: shows what takes long on the way: making it, walking a large folder.

    Raises:
        UserError: no such data set; the nearest names are listed.
        DatasetError: the root is missing or empty, or holds no list that can be read.
    """
    root, annotations, cache = (None if path is None else Path(path) for path in (root, annotations, cache))
    base, _, variant = name.partition(":")
    plugin = registry.load("datasets", base)
    if root is None and not getattr(plugin, "EMBEDDED", False):
        raise DatasetError(f"{base} needs --root DIR, the folder that holds it: {plugin.INFO.layout}")
    if root is not None and not root.is_dir():
        raise DatasetError(f"data root {root} {'is not a folder' if root.exists() else 'does not exist'}")
    if variant and variant not in plugin.INFO.variants:
        there = ", ".join(plugin.INFO.variants) or "none"
        raise DatasetError(f"{base} has no variant {variant!r}; it has: {there}")
    options = LoadOptions(annotations=annotations, fold=fold, variant=variant or None, cache=cache)
    dataset = cast(Dataset, plugin.load(root, options, progress))
    for note in dataset.notes:
        log.warning("%s", note)
    return dataset
