"""Where the videos behind a result lie on this machine, found by the data set's own reader."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tvts_bench import registry
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.errors import UserError
from tvts_bench.results import Result
from tvts_bench.runtime import default_cache
from tvts_bench.snapshot import is_unchanged
from tvts_bench.tables.base import EMBEDDED

WORLDS = "scripted-motion"  # folder of embedded worlds in the cache


@dataclass(frozen=True, kw_only=True, eq=False)
class Videos:
    """The clips of a result's splits."""

    paths: Mapping[str, Path] = field(default_factory=dict)  # id -> file, which need not be there
    classes: tuple[str, ...] = ()
    problem: str | None = None  # why there are none, one sentence

    def class_name(self, label: int) -> str:
        """Its name, or its number where no list is there."""
        return self.classes[label] if 0 <= label < len(self.classes) else f"class {label}"


def find_videos(result: Result, roots: Mapping[str, Path]) -> Videos:
    """The videos of `result`, from where it was measured or from `roots` (data set -> folder).

    Nothing is made or downloaded for it. Lists that are not those of the result, by fingerprint, are not taken.
    """
    full = str(result.run.dataset["name"])
    base = next((name for name in registry.names("datasets") if full == name or full.startswith(f"{name}-")), None)
    if base is None:
        return Videos(problem=f"this version knows no data set {full}")
    rest = re.fullmatch(r"(?:-(?P<variant>[a-z0-9]+?))??(?:-fold(?P<fold>\d))?", full.removeprefix(base))
    root = roots.get(base) or _recorded(result, base)
    if rest is None or root is None:
        return Videos(problem=f"the result does not say where {full} lies: give --data {base}=DIR")
    name = base if rest["variant"] is None else f"{base}:{rest['variant']}"
    try:
        dataset = load_dataset(name, root, fold=int(rest["fold"] or 1))
        return _of(dataset, result)
    except (UserError, OSError) as error:
        return Videos(problem=f"its videos are not on this machine: {error}; --data {base}=DIR says where they are")


def _of(dataset: Dataset, result: Result) -> Videos:
    paths: dict[str, Path] = {}
    for item in result.coverage:
        if dataset.fingerprint(item.split) != item.fingerprint:
            return Videos(
                problem=f"the lists of {dataset.name} {item.split} under {dataset.root} are not those of the result"
                f" (fingerprint {item.fingerprint[:12]})"
            )
        if item.files is not None and not is_unchanged(item.files, dataset.files(item.split)):
            return Videos(problem=f"the videos of {dataset.name} {item.split} under {dataset.root} changed since")
        paths |= {_readable(record.id): record.path for record in dataset.records(item.split)}
    return Videos(paths=paths, classes=dataset.class_names)


def _readable(name: str) -> str:
    """An id as the files of results write it: what is not UTF-8 on disk with escapes."""
    return name.encode(errors="backslashreplace").decode()


def _recorded(result: Result, base: str) -> Path | None:
    """Where the result was measured; the embedded world may lie in this machine's cache instead."""
    recorded = result.provenance.get("root")
    if not isinstance(recorded, str):
        return None
    root = Path(recorded)
    if base != EMBEDDED:
        return root
    world = root.parent  # its parts lie in folders named like the data sets they look like
    return world if world.is_dir() else default_cache() / WORLDS / world.name
