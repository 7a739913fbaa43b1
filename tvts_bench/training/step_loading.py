"""Items known by their number, made in parallel and handed out in order."""

import signal
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from tvts_bench.errors import UserError
from tvts_bench.processes import worker_context
from tvts_bench.training.signals import STOPPING

T = TypeVar("T")


class WorkerError(UserError):
    """A loading process that is gone, which is seldom its own doing."""


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
