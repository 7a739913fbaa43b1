"""Samples of drawn stories kept on disk: whole batches for runs that read the same ones, and pools of stories.

Drawing takes longer than a step of a small network. `KeptBatches` keeps what a run draws, for other runs of the same
seed, as the cells of a grid are. A pool holds some stories only, whose clips are made when they are first needed and
kept in the cache, in one file for all runs with the same stories, cuts and crops; the seed of a run decides in which
order, and in which of the tellings, it sees them.

For drawn stories alone, whose samples depend on nothing but their seeds: of files that are read, nobody could tell
whether they are still the same.
"""

from __future__ import annotations

import functools
import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import Dataset

from pretrain.data.loading import Made, NarratedBatch
from pretrain.data.mixing import Mixture
from pretrain.data.sources import Source
from tvts_bench import provenance
from tvts_bench.atomic import remove_leftovers, whole_file
from tvts_bench.errors import UserError
from tvts_bench.runtime import Progress, silent
from tvts_bench.version import VERSION

POOL_VERSION = 1
"""Raised by every change of what a pool holds; a change of the stories raises the generator's own."""
TELLINGS = 4  # of each story
FOLDER = "story-pools"  # in the cache


Texts = list[list[list[str]]]
"""By telling, story, segment."""
TENSORS = ("clips", "input_ids", "attention_mask", "segments", "seeds")  # of a batch

logger = logging.getLogger(__name__)


class KeptBatches(Dataset[Made]):
    """`made`, each item written to `folder` when it is first needed, and read from there afterwards.

    Raises:
        UserError: nothing can be written there; before anything is drawn where the folder cannot be made.
    """

    def __init__(self, made: Dataset[Made], folder: Path) -> None:
        self._made, self._folder = made, folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(folder, error) from None
        remove_leftovers(folder)

    def __getitem__(self, step: int) -> Made:
        path = self._folder / f"{step:07d}.safetensors"
        kept = _read(path)
        if kept is None:
            kept = self._made[step]
            if not kept.failures:  # they would be counted this time alone
                _write(path, kept)
        return kept


def kept_folder(
    samples: Path, sources: Sequence[Source], mixture: Mixture, ranks: tuple[int, int], tokenizer: str
) -> Path:
    """The folder in `samples` of all batches that are made of the same.

    Args:
        samples: where the batches of all kinds of run lie.
        sources: what is drawn from.
        mixture: how, and from which seed.
        ranks: this one, and how many there are.
        tokenizer: all that it does, as text.

    Raises:
        UserError: a source is not drawn.
    """
    for source in sources:
        if source.world is None:
            what = f"{source.config.kind} is read from files"
            raise UserError(f"samples={samples} keeps what is drawn, and {what}: leave it out")
    parts = [[source.config, source.segments, source.crop] for source in sources]
    worlds = [source.world for source in sources]
    made_of = [parts, mixture.seed, mixture.shares, list(ranks), tokenizer, worlds, [VERSION, *_versions()]]
    return samples / provenance.digest(made_of)[:16]


def _read(path: Path) -> Made | None:
    """What `_write` wrote; None where there is nothing, or nothing whole."""
    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata()
            tensors = {name: file.get_tensor(name) for name in TENSORS}
        batch = NarratedBatch(**tensors, ids=tuple(json.loads(facts["ids"])))
        return Made(batch=batch, events=Counter(json.loads(facts["events"])))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AssertionError):
        return None


def _write(path: Path, made: Made) -> None:
    tensors = {name: getattr(made.batch, name).contiguous() for name in TENSORS}
    facts = {"ids": json.dumps(made.batch.ids), "events": json.dumps(made.events)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(save(tensors, facts))
    except OSError as error:
        raise _unwritable(path.parent, error) from None


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot keep samples in {folder} ({error}): give another samples=, or leave it out")


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
    parts = [POOL_VERSION, TELLINGS, count, made_of, _versions()]
    path = cache / FOLDER / f"{provenance.digest(parts)[:20]}.safetensors"
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


def _versions() -> list[str]:
    """Of the libraries that decide which bytes are drawn."""
    return [metadata.version(name) for name in ("numpy", "torch", "torchvision")]
