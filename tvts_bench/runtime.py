"""Where and how fast things run: device, workers, cache folder, progress, rank. Never part of a key."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

from tvts_bench.config_fields import Option, check_fields
from tvts_bench.errors import UserError

CACHE_VARIABLE = "TVTS_BENCH_CACHE"
MAX_WORKERS = 1024
"""Processes or threads of one process; with many more, systems refuse to start them, or crash."""


class Progress(Protocol):
    """Shows one long loop. The command line draws a bar with rate and time left; libraries only report to it."""

    def __call__(self, total: int, unit: str, description: str) -> AbstractContextManager[Callable[[int], None]]:
        """`with progress(total, "clips", "extracting") as advance:` then `advance(n)` after every n units."""
        ...


@contextmanager
def silent(total: int, unit: str, description: str) -> Iterator[Callable[[int], None]]:
    """The default `Progress`: shows nothing.

    Args:
        total: units; not used, as the others.
        unit: what is counted.
        description: what is done.
    """
    yield lambda advanced: None


def default_cache() -> Path:
    """`$TVTS_BENCH_CACHE`, or the user's cache folder of the operating system."""
    import platformdirs

    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("tvts-bench"))


def default_workers() -> int:
    """Processor cores this process may use: not all there are in a container, and a share of them under torchrun."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def require_workers(count: int, name: str = "workers") -> None:
    """Refuse more processes than one machine runs.

    Raises:
        UserError: with the number, under its `name`, and the limit.
    """
    if count > MAX_WORKERS:
        raise UserError(f"{name} must be at most {MAX_WORKERS:,} processes, got {count:,}")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What may change how long a run takes but not what it measures."""

    device: Annotated[str, Option("auto, cpu, cuda, cuda:1, ...")] = "cpu"
    workers: Annotated[int, Option("Decoding processes; one per core by default.", least=0)] = 2  # 0: in this process
    batch_size: Annotated[int, Option("Clips in a forward pass.", least=1)] = 16
    clip_timeout: Annotated[
        float,
        Option("Seconds a worker may spend on one file before it is killed and the file listed.", above=0),
    ] = 120.0
    cache: Annotated[
        Path,
        Option("Folder of features and embedded data; $TVTS_BENCH_CACHE or the user's cache folder by default."),
    ] = field(default_factory=default_cache)
    progress: Progress = silent
    strict: Annotated[
        bool, Option("Stop with an error if any clip cannot be read, instead of listing and counting it.")
    ] = False
    rank: int = 0
    world_size: Annotated[int, Option("Processes.", least=1)] = 1
    out: Path | None = None  # what trains keeps its states and curves in a folder there; None: in the cache
    resume: Annotated[bool, Option("Resume a training that was stopped, exactly; or test one again.")] = False
    retrain: bool = False  # a training that is there is set aside, and begins anew

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        check_fields(self)
        require_workers(self.workers)
