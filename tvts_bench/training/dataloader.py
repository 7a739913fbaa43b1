"""Items made in parallel and handed out in order, and those of supervised training: batches of augmented clips.

Batches are equal for equal (seed, step), whatever the number of workers or ranks.

A worker makes a whole batch, and a batch is known from its step alone. So resuming at step s is asking for step s, and
neither the number of workers nor what was read before can change a byte.

A video that cannot be read is left out of its batch, and counted and named: putting another in its place would train on
a set that nobody asked for. A share of such videos above `max_failures` ends the run.
"""

import logging
import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tvts_bench.datasets.base import VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.features.base import Failure
from tvts_bench.processes import worker_context
from tvts_bench.training.frame_cache import FrameCache
from tvts_bench.training.recipe import Recipe
from tvts_bench.training.sampler import ClipDraw, ClipSampler
from tvts_bench.training.signals import STOPPING
from tvts_bench.video.packet_index import VideoDecodeError
from tvts_bench.video.sampling import clip_indices
from tvts_bench.video.spec import ClipAugment, ClipSpec
from tvts_bench.video.transforms import augment_clip

MEMORY = 2**30  # bytes of short videos that a process tree keeps decoded

T = TypeVar("T")

log = logging.getLogger(__name__)


class WorkerError(UserError):
    """A loading process that is gone, which is seldom its own doing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipBatch:
    """One process's part of a step. Unreadable clips are missing from it, so it may be smaller than its part, or empty.

    Clips are bytes: `video.transforms.normalise` makes floats of them where they are used.
    """

    clips: Tensor  # uint8 [B, 3, T, crop, crop]
    labels: Tensor  # int64 [B]
    ids: tuple[str, ...]
    positions: tuple[int, ...]  # [B], in the step's batch over all processes
    seeds: tuple[int, ...]  # [B], of every random choice in a clip
    failed: tuple[tuple[str, str], ...] = ()  # (id, reason) of what is missing
    transient: tuple[str, ...] = ()  # ids in `failed` that may be readable another time
    contents: Mapping[str, str] = field(default_factory=dict)  # id -> sha256 of each file that no step read before

    def __len__(self) -> int:
        """Clips."""
        return len(self.ids)

    def pin_memory(self) -> Self:
        """With the tensors in page-locked memory."""
        return replace(self, clips=self.clips.pin_memory(), labels=self.labels.pin_memory())


@dataclass(frozen=True, kw_only=True)
class ClipsConfig:
    """Everything that decides what training clips are."""

    clip: ClipSpec  # one view; `position` says whether frames are drawn anew every epoch
    augment: ClipAugment
    batch_size: int  # clips a step, over all processes
    seed: int = 0
    decoder: str = "decord"
    max_failures: float = 0.05  # share (0..1) of the videos that may be unreadable, but one at least; 0: none

    @classmethod
    def of(cls, recipe: Recipe, clip: ClipSpec, decoder: str = "decord") -> Self:
        """What `recipe` says for a backbone whose own clip is `clip`."""
        return cls(
            clip=recipe.training_clip(clip),
            augment=recipe.augment,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            decoder=decoder,
            max_failures=recipe.max_failures,
        )


class ClipLoader:
    """The batches of one process, by step.

    `failed` holds the reason for each video that could not be read so far, by id, and `transient` the ids of those that
    may be readable another time (time limit, memory). Whoever resumes a run puts those of the run before back into
    both, and whoever reads other training clips (to choose the epoch by), what failed of them; the loader's own alone
    count against `max_failures`.

    `contents` holds the sha256 of each file that this process was the first to read, by id (see `files_read`); whoever
    keeps them may empty it.
    """

    def __init__(
        self,
        records: Sequence[VideoRecord],
        config: ClipsConfig,
        *,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        memory: int = MEMORY,
        clip_timeout: float = math.inf,
    ) -> None:
        """Read nothing yet.

        Args:
            records: the training set.
            config: what decides the clips.
            workers: processes that make batches; 0: this one does.
            rank: this process among `world_size`.
            world_size: processes that share each batch.
            memory: bytes of short videos kept decoded, over all workers; 0: every epoch decodes anew.
            clip_timeout: seconds that reading one video may take; one that takes longer is unreadable.

        Raises:
            UserError: the batch is larger than the set, or cannot be divided among the processes.
        """
        self.sampler = ClipSampler(size=len(records), batch_size=config.batch_size, seed=config.seed)
        self.sampler.draws(0, rank, world_size)  # refuses a batch that cannot be divided now, not in a worker
        self.failed: dict[str, str] = {}
        self.transient: set[str] = set()
        self.contents: dict[str, str] = {}
        self._allowed = max(1, int(config.max_failures * len(records))) if config.max_failures else 0
        self._ids = frozenset(record.id for record in records)
        self._config, self._workers = config, workers
        frames = FrameCache(decoder=config.decoder, limit=memory // max(workers, 1), seconds=clip_timeout)
        self._steps = _Steps(
            records=tuple(records),
            config=config,
            sampler=self.sampler,
            frames=frames,
            rank=rank,
            world_size=world_size,
        )

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one epoch."""
        return self.sampler.steps_per_epoch

    def batches(self, start: int, stop: int) -> Iterator[ClipBatch]:
        """The batches of steps `start` to `stop - 1`.

        Workers, and what they keep decoded, live as long as the iterator: ask once for all that a run still needs, not
        once an epoch.

        Raises:
            UserError: more than `max_failures` of the videos could not be read so far.
        """
        for batch in load_in_order(self._steps, range(start, stop), self._workers):
            self._account(batch)
            yield batch

    def _account(self, batch: ClipBatch) -> None:
        self.contents.update(batch.contents)
        self.transient.update(batch.transient)
        for name, reason in batch.failed:
            if name not in self.failed:
                self.failed[name] = reason
                log.warning("left out of training: %s", reason)
            unread = len(self._ids & self.failed.keys())
            if unread > self._allowed:
                raise UserError(
                    f"{unread} of {self.sampler.size} training videos could not be read so far, more than the"
                    f" {self._allowed} allowed: mend them or take them out of the lists (`tvts-bench check` finds all);"
                    f" the last: {reason}"
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Steps(Dataset[ClipBatch]):
    """Steps as a data set: item `step` is that step's batch."""

    records: tuple[VideoRecord, ...]
    config: ClipsConfig
    sampler: ClipSampler
    frames: FrameCache
    rank: int
    world_size: int

    def __getitem__(self, step: int) -> ClipBatch:
        clips: list[Tensor] = []
        used: list[tuple[VideoRecord, ClipDraw]] = []
        failed: dict[str, Failure] = {}
        new: list[VideoRecord] = []
        for draw in self.sampler.draws(step, self.rank, self.world_size):
            record = self.records[draw.index]
            if self.sampler.is_first(step, draw.index):
                new.append(record)
            try:
                clips.append(self._clip(record, draw.seed))
                used.append((record, draw))
            except VideoDecodeError as error:
                failed[record.id] = Failure(reason=str(error), retry=error.transient)
            except MemoryError:
                failed[record.id] = Failure(reason=f"out of memory while decoding {record.path}", retry=True)
        clip = self.config.clip
        nothing = torch.empty((0, 3, clip.num_frames, clip.crop, clip.crop), dtype=torch.uint8)
        return ClipBatch(
            clips=torch.stack(clips) if clips else nothing,
            labels=torch.tensor([record.label for record, _ in used], dtype=torch.int64),
            ids=tuple(record.id for record, _ in used),
            positions=tuple(draw.position for _, draw in used),
            seeds=tuple(draw.seed for _, draw in used),
            failed=tuple((name, failure.reason) for name, failure in failed.items()),
            transient=tuple(name for name, failure in failed.items() if failure.retry),
            contents={record.id: self.frames.content(record.path) for record in new},
        )

    def _clip(self, record: VideoRecord, seed: int) -> Tensor:
        """uint8 [3, T, crop, crop]: frames and pixels drawn from `seed`."""
        clip = replace(self.config.clip, seed=seed)
        frames = self.frames.frames(record.path, lambda n: clip_indices(n, clip, record.id)[0])
        return augment_clip(frames, self.config.augment, clip, np.random.Generator(np.random.PCG64(seed)))


def load_in_order(items: Dataset[T], numbers: range, workers: int) -> Iterator[T]:
    """The items `numbers` in that order, each made whole by one of `workers` processes (0: by this one).

    Raises:
        UserError: as `items` raised it, in whatever process that was.
    """
    loader = DataLoader(
        _Caught(items),
        sampler=numbers,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=worker_context((type(items).__module__,)) if workers else None,
        worker_init_fn=_start_worker if workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(0),  # else making a loader moves torch's global generator
    )
    for item in loader:
        if isinstance(item, UserError):
            raise item
        yield item


def refuse_lost_worker(error: RuntimeError) -> None:
    """Say what torch means if `error` is of a loading process that is gone; it raises that anywhere, not only here.

    Raises:
        WorkerError: it is.
    """
    if "DataLoader worker" in str(error):
        raise WorkerError(
            f"a loading process was ended from outside ({str(error).splitlines()[0].rstrip('. ')}), often for want of "
            "memory: use fewer workers or smaller batches; the state saved before is whole"
        ) from None


class _Caught(Dataset[T | UserError]):
    """Items, or a user's error as one: a loading process would hand it on as a traceback in a message."""

    def __init__(self, items: Dataset[T]) -> None:
        self._items = items

    def __getitem__(self, number: int) -> T | UserError:
        try:
            return self._items[number]
        except UserError as error:
            return error


def _start_worker(worker: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C, a scheduler's SIGTERM and the end of a terminal reach every process of a run; the trainer decides what is
    # done first.
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
