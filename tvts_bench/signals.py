"""Signals to stop: SIGTERM, Ctrl-C and SIGHUP (a terminal or a connection is gone)."""

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


class StopSignal(KeyboardInterrupt):
    """A signal that ends a command as Ctrl-C does: whatever is finished is kept, workers end."""

    def __init__(self, number: int) -> None:
        """The signal of that number."""
        super().__init__(number)
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

    with _handled_by(remember, [number for number in STOPPING if not _is_nohup(number)]):
        yield lambda: received


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """A scheduler's SIGTERM and a lost terminal's SIGHUP raise `StopSignal`; one that is ignored (nohup) stays so."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise StopSignal(number)

    with _handled_by(stop, [number for number in STOPPING if signal.getsignal(number) == signal.SIG_DFL]):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None], numbers: list[int]) -> Iterator[None]:
    """These signals call `handler`, in the main thread, which alone gets signals; what they did before comes back."""
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _is_nohup(number: int) -> bool:
    return signal.Signals(number).name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN
