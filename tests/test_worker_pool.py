"""Work that may hang or crash: every item gets its answer, or the reason why there is none."""

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tvts_bench.errors import UserError
from tvts_bench.processes import Unanswered, WorkerPool, run_with_timeout


def test_what_work_returns_or_raises_comes_through() -> None:
    assert run_with_timeout(10.0, lambda: 3) == 3
    assert run_with_timeout(float("inf"), lambda: 4) == 4
    with pytest.raises(ValueError, match="invalid literal"):
        run_with_timeout(10.0, lambda: int("three"))


def test_work_that_takes_longer_is_not_waited_for() -> None:
    end = threading.Event()
    with pytest.raises(TimeoutError):
        run_with_timeout(0.05, end.wait)
    end.set()


def work(item: str) -> str:
    """In a worker: hang, crash, raise or answer, as the item says."""
    if item == "hang":
        time.sleep(60)
    if item == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    return str(int(item) + 1)


def nothing() -> None:
    """Done first in a worker."""


def die() -> None:
    """Done first in a worker that never gets further."""
    os._exit(3)


def pool(first: Callable[[], None] = nothing) -> WorkerPool[str, str]:
    return WorkerPool(work, workers=2, timeout=2.0, setup=lambda: first)


def test_every_item_has_an_answer_or_the_reason_why_there_is_none() -> None:
    items = ["1", "crash", "2", "hang", "3", "4"]
    with pool() as workers:
        for item in items:
            workers.submit(item)
        answers = dict(workers.next_answer() for _ in items)
        assert not len(workers)
    assert answers == {
        **{"1": "2", "2": "3", "3": "4", "4": "5"},
        "crash": Unanswered(exit_code=-signal.SIGSEGV),
        "hang": Unanswered(timed_out=True),
    }


def test_what_work_raises_in_a_worker_is_raised_here() -> None:
    with pool() as workers:
        workers.submit("three")
        with pytest.raises(ValueError, match="invalid literal"):
            workers.next_answer()


def test_processes_that_die_as_they_start_are_one_sentence() -> None:
    with pytest.raises(UserError, match=r"the worker processes die as they start .* --workers 0$"):
        pool(die)
