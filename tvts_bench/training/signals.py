"""Being told to stop: SIGTERM and Ctrl-C are remembered until a step is done."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StoppedError(Exception):
    """SIGTERM or Ctrl-C. `signal` is its number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by signal {number}")
        self.signal = number


@contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """SIGTERM and the first Ctrl-C are remembered until a step is done: yields what asks for the number (or 0).

    The second Ctrl-C stops at once. Outside the main thread, which alone gets signals, the answer is always 0.
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
    before = {number: signal.signal(number, remember) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
