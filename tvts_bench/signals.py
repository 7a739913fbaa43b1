"""Signals to stop: SIGTERM, Ctrl-C and SIGHUP (a terminal or a connection is gone) wait until a step is done."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = tuple(number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)))
"""What tells a process to save and end; Windows knows no SIGHUP."""


class StoppedError(Exception):
    """SIGTERM, Ctrl-C or SIGHUP. `signal` is its number."""

    def __init__(self, number: int) -> None:
        """`number` is the signal's."""
        super().__init__(f"stopped by signal {number}")
        self.signal = number


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """Those of `STOPPING` are remembered until a step is done: yields what asks for the number of the last (or 0).

    The second Ctrl-C stops at once. SIGHUP stays ignored where it is, as under nohup. Outside the main thread, which
    alone gets signals, the answer is always 0.
    """
    received = 0

    def remember(number: int, frame: FrameType | None) -> None:
        nonlocal received
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received = number

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {number: signal.signal(number, remember) for number in STOPPING if not _is_nohup(number)}
    try:
        yield lambda: received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_nohup(number: int) -> bool:
    return signal.Signals(number).name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN
