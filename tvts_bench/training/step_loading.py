"""Items known by their number, made in parallel and handed out in order."""

import multiprocessing
import signal
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

T = TypeVar("T")


def load_in_order(items: Dataset[T], numbers: range, workers: int) -> Iterator[T]:
    """The items `numbers` in that order, each made whole by one of `workers` processes (0: by this one)."""
    if workers:
        # The server imports once what every worker needs, instead of each worker.
        multiprocessing.set_forkserver_preload([type(items).__module__])
    loader = DataLoader(
        items,
        sampler=numbers,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,  # a fork would copy decoders and threads
        worker_init_fn=_start_worker if workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(0),  # else making a loader moves torch's global generator
    )
    yield from loader


def _start_worker(worker: int) -> None:
    torch.set_num_threads(1)
    # Ctrl-C and a scheduler's SIGTERM reach every process of a run; the trainer decides what is done first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
