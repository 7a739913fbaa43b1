"""A time limit for work that nothing can interrupt: a file whose decoder never returns."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def run_with_timeout(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises, if that takes at most `seconds`; it runs in a thread of its own.

    Work that takes longer is left behind, since a thread in C code cannot be stopped, and ends with the process.

    Raises:
        TimeoutError: it takes longer.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(min(seconds, threading.TIMEOUT_MAX))
