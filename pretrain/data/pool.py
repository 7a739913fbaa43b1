"""Samples of drawn stories kept for all runs that use them: frames are drawn once, and told of several times.

Drawing takes longer than a step of a small network. So a source can use some stories only, whose clips are made when
they are first needed and kept in the cache, in one file for all runs with the same stories, cuts and crops; the seed of
a run decides in which order, and in which of the tellings, it sees them.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tvts_bench import provenance
from tvts_bench.atomic import whole_file
from tvts_bench.errors import UserError
from tvts_bench.runtime import Progress, silent

VERSION = 1
"""Raised by every change of what a pool holds; a change of the stories raises the generator's own."""
TELLINGS = 4  # of each story
FOLDER = "story-pools"  # in the cache

logger = logging.getLogger(__name__)

Texts = list[list[list[str]]]
"""By telling, story, segment."""


@dataclass(frozen=True, kw_only=True)
class PooledStory:
    """One story as a pool holds it."""

    clip: Tensor  # uint8 [3, T, size, size]
    tellings: tuple[tuple[str, ...], ...]  # TELLINGS times the K segments


@dataclass(frozen=True)
class StoryPool:
    """A pool on disk, mapped into memory when it is first read; small to pickle."""

    path: Path

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    @functools.cached_property
    def _read(self) -> tuple[Tensor, Texts]:
        content = _load(self.path)
        if content is None:
            raise UserError(f"{self.path} has changed while it was read from: start anew, it is made again")
        return content

    @property
    def clips(self) -> Tensor:
        """uint8 [N, 3, T, size, size]."""
        return self._read[0]

    def texts(self, number: int, telling: int) -> tuple[str, ...]:
        """The K segments of story `number` in one of its tellings."""
        return tuple(self._read[1][telling][number])


def make_pool(
    made_of: Any, count: int, tell: Callable[[int], PooledStory], *, cache: Path, progress: Progress = silent
) -> StoryPool:
    """The pool of `count` stories, from the cache if it is there whole.

    Args:
        made_of: all that decides what `tell` returns; the file is named by its digest and by versions.
        count: stories.
        tell: draws a story by its number.
        cache: where pools lie, in a folder of their own.
        progress: shows it being made.

    Raises:
        UserError: it cannot be written.
    """
    versions = [metadata.version(name) for name in ("numpy", "torch", "torchvision")]
    path = cache / FOLDER / f"{provenance.digest([VERSION, TELLINGS, count, made_of, versions])[:20]}.safetensors"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):  # other runs of a grid wait for it
            if _load(path) is None:
                _make(path, count, tell, progress)
    except OSError as error:
        raise UserError(
            f"cannot keep a pool of {count} stories in {path.parent}: {error.strerror or error}; set TVTS_BENCH_CACHE "
            "to a folder with room, or the source's pool to null"
        ) from error
    return StoryPool(path)


def _make(path: Path, count: int, tell: Callable[[int], PooledStory], progress: Progress) -> None:
    clips, texts = None, [[[""]] * count for _ in range(TELLINGS)]
    with progress(count, "stories", "drawing a pool of stories (once)") as advance:
        for number in range(count):
            story = tell(number)
            clips = torch.empty(count, *story.clip.shape, dtype=torch.uint8) if clips is None else clips
            clips[number] = story.clip
            for telling, words in enumerate(story.tellings):
                texts[telling][number] = list(words)
            advance(1)
    assert clips is not None
    with whole_file(path) as file:
        file.write(save({"clips": clips}, {"texts": json.dumps(texts)}))


def _load(path: Path) -> tuple[Tensor, Texts] | None:
    """What `_make` wrote; None where there is nothing, or nothing whole."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            clips, texts = file.get_tensor("clips"), json.loads(file.metadata()["texts"])
        if clips.ndim == 5 and [len(each) for each in texts] == [len(clips)] * TELLINGS:
            return clips, texts
    except (SafetensorError, KeyError, TypeError, ValueError):
        pass
    logger.warning("%s is damaged: made again", path)
    return None
