"""Work in time is as if it had been called; work out of time is left behind."""

import threading

import pytest

from tvts_bench.processes import run_with_timeout


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
