"""Items made in parallel and handed out in order, and those of supervised training: batches of augmented clips.

Batches are equal for equal (seed, step), whatever the number of workers or ranks.

A worker makes a whole batch, and a batch is known from its step alone. So resuming at step s is asking for step s, and
neither the number of workers nor what was read before can change a byte.

A video that cannot be read is left out of its batch, and counted and named: putting another in its place would train on
a set that nobody chose. A share of such videos above `max_failures` ends the run.
"""

import logging
import math
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tvts_bench.datasets.base import VideoRecord
from tvts_bench.distributed import Rank
from tvts_bench.errors import UserError
from tvts_bench.features.base import Failure
from tvts_bench.processes import run_with_timeout, worker_context
from tvts_bench.signals import STOPPING
from tvts_bench.snapshot import UNREADABLE, content_sha256
from tvts_bench.training.recipe import Recipe
from tvts_bench.training.sampler import ClipDraw, ClipSampler
from tvts_bench.video.clips import require_croppable
from tvts_bench.video.packet_index import VideoDecodeError
from tvts_bench.video.reader import decode_frames
from tvts_bench.video.sampling import Sample, clip_indices
from tvts_bench.video.spec import ClipSpec
from tvts_bench.video.transforms import augment_clip

MEMORY = 2**30  # bytes of short videos that a process tree keeps decoded
SHORT = 64  # frames; only videos up to this length are decoded whole, to be kept
ALONE = Rank()

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
    failed: Mapping[str, Failure] = field(default_factory=dict)  # by id: what is missing
    contents: Mapping[str, str] = field(default_factory=dict)  # id -> sha256 of each file that no step read before

    def __len__(self) -> int:
        """Clips."""
        return len(self.ids)

    def pin_memory(self) -> Self:
        """With the tensors in page-locked memory."""
        return replace(self, clips=self.clips.pin_memory(), labels=self.labels.pin_memory())


class ClipLoader(Dataset[ClipBatch]):
    """The batches of one process, by step.

    `failed` holds the reason for each video that could not be read so far, by id, and `transient` the ids of those that
    may be readable another time (time limit, memory). Whoever resumes a run puts those of the run before back into
    both, and whoever reads other training clips (to choose the epoch by), what failed of them; the loader's own alone
    count against `max_failures`.

    `contents` holds the sha256 of each file that this process was the first to read, by id (see `FilesRead`); whoever
    keeps them may empty it.
    """

    def __init__(
        self,
        records: Sequence[VideoRecord],
        recipe: Recipe,
        clip: ClipSpec,
        *,
        decoder: str = "decord",
        workers: int = 0,
        rank: Rank = ALONE,
        memory: int = MEMORY,
        clip_timeout: float = math.inf,
    ) -> None:
        """Read nothing yet.

        Args:
            records: the training set.
            recipe: batch size, augmentation, seed, and the share of videos that may be unreadable.
            clip: the backbone's own.
            decoder: by name.
            workers: processes that make batches; 0: this one does.
            rank: this process among those that share each batch.
            memory: bytes of short videos kept decoded, over all workers; 0: every epoch decodes anew.
            clip_timeout: seconds that reading one video may take; one that takes longer is unreadable.

        Raises:
            UserError: the batch is larger than the set, or cannot be divided among the processes.
        """
        self.sampler = ClipSampler(size=len(records), batch_size=recipe.batch_size, seed=recipe.seed)
        self.sampler.draws(0, rank.rank, rank.world_size)  # refuses a batch that cannot be divided now, not in a worker
        self.failed: dict[str, str] = {}
        self.transient: set[str] = set()
        self.contents: dict[str, str] = {}
        self._records, self._clip, self._augment = tuple(records), recipe.training_clip(clip), recipe.augment
        self._ids = frozenset(record.id for record in records)
        self._workers, self._rank = workers, rank
        self._allowed = max(1, int(recipe.max_failures * len(records))) if recipe.max_failures else 0
        self._frames = FrameCache(decoder=decoder, limit=memory // max(workers, 1), seconds=clip_timeout)

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
        for batch in load_in_order(self, range(start, stop), self._workers):
            self._account(batch)
            yield batch

    def _account(self, batch: ClipBatch) -> None:
        self.contents.update(batch.contents)
        self.transient.update(name for name, failure in batch.failed.items() if failure.retry)
        for name, failure in batch.failed.items():
            if name not in self.failed:
                self.failed[name] = failure.reason
                log.warning("left out of training: %s", failure.reason)
            unread = len(self._ids & self.failed.keys())
            if unread > self._allowed:
                raise UserError(
                    f"{unread} of {len(self._records)} training videos could not be read so far, more than the"
                    f" {self._allowed} allowed: mend them or take them out of the lists (`tvts-bench check` finds all);"
                    f" the last: {failure.reason}"
                )

    def __getitem__(self, step: int) -> ClipBatch:
        """This process's batch of `step`; nothing of the loader changes but what it keeps decoded."""
        clips: list[Tensor] = []
        used: list[tuple[VideoRecord, ClipDraw]] = []
        failed: dict[str, Failure] = {}
        draws = self.sampler.draws(step, self._rank.rank, self._rank.world_size)
        for draw in draws:
            record = self._records[draw.index]
            try:
                clips.append(self._draw_clip(record, draw.seed))
                used.append((record, draw))
            except VideoDecodeError as error:
                failed[record.id] = Failure(reason=str(error), retry=error.transient)
            except MemoryError:
                failed[record.id] = Failure(reason=f"out of memory while decoding {record.path}", retry=True)
        new = [self._records[draw.index] for draw in draws if self.sampler.is_first(step, draw.index)]
        nothing = torch.empty((0, 3, self._clip.num_frames, self._clip.crop, self._clip.crop), dtype=torch.uint8)
        return ClipBatch(
            clips=torch.stack(clips) if clips else nothing,
            labels=torch.tensor([record.label for record, _ in used], dtype=torch.int64),
            ids=tuple(record.id for record, _ in used),
            positions=tuple(draw.position for _, draw in used),
            seeds=tuple(draw.seed for _, draw in used),
            failed=failed,
            contents={record.id: self._frames.content(record.path) for record in new},
        )

    def _draw_clip(self, record: VideoRecord, seed: int) -> Tensor:
        """uint8 [3, T, crop, crop]: frames and pixels drawn from `seed`."""
        clip = replace(self._clip, seed=seed)
        frames = self._frames.frames(record.path, lambda n: clip_indices(n, clip, record.id)[0])
        return augment_clip(frames, self._augment, clip, np.random.Generator(np.random.PCG64(seed)))


@dataclass(kw_only=True)
class FrameCache:
    """Reads frames by index; keeps short videos decoded, up to `limit` bytes, so that later epochs cost no decoding.

    What it returns is the same with and without room. It is of one process: each worker has its own.
    """

    decoder: str = "decord"
    limit: int = 0  # bytes; 0 keeps nothing
    seconds: float = math.inf  # to read one file; one that took longer is not tried again
    held: int = 0  # bytes
    _videos: dict[Path, NDArray[np.uint8]] = field(default_factory=dict, repr=False)
    _slow: set[Path] = field(default_factory=set, repr=False)

    def frames(self, path: Path, sample: Sample) -> NDArray[np.uint8]:
        """The frames that `sample(number of frames)` picks: uint8 [T, H, W, 3]; not to be written to.

        Raises:
            VideoDecodeError: the file cannot be read completely, or in time, or its frames cannot be cropped.
        """
        video = self._videos.get(path)
        if video is not None:
            return video[sample(len(video))]
        wants_all = self.held < self.limit

        def all_or_some(num_frames: int) -> NDArray[np.int64]:
            is_whole = wants_all and num_frames <= SHORT
            return np.arange(num_frames, dtype=np.int64) if is_whole else sample(num_frames)

        frames, num_frames = self._read(path, all_or_some)
        require_croppable(path, frames)
        if not wants_all or num_frames > SHORT:
            return frames
        if self.held + frames.nbytes <= self.limit:
            self._videos[path] = frames
            self.held += frames.nbytes
        return frames[sample(num_frames)]

    def content(self, path: Path) -> str:
        """sha256 (hex) of the file, `UNREADABLE` for one that cannot be read in time."""
        try:
            return UNREADABLE if path in self._slow else run_with_timeout(self.seconds, partial(content_sha256, path))
        except TimeoutError:
            self._slow.add(path)
            return UNREADABLE

    def _read(self, path: Path, sample: Sample) -> tuple[NDArray[np.uint8], int]:
        """The frames of the file, and how many it has."""
        try:
            if path in self._slow:
                raise TimeoutError
            decoded = run_with_timeout(self.seconds, partial(decode_frames, path, sample, self.decoder))
        except TimeoutError as error:
            self._slow.add(path)
            raise VideoDecodeError(path, f"decoding it takes longer than {self.seconds:g} s") from error
        return decoded.frames, decoded.num_frames


def load_in_order(items: Dataset[T], numbers: range, workers: int) -> Iterator[T]:
    """The items `numbers` in that order, each made whole by one process.

    Args:
        items: by number.
        numbers: which.
        workers: how many processes make them; 0: this one does.

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
