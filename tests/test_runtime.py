"""Settings that change how long a run takes: nonsense is refused, the cache is where the user says."""

import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from tvts_bench.errors import UserError
from tvts_bench.runtime import CACHE_VARIABLE, Runtime, default_cache, default_workers, silent


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("workers", -1, "workers must be at least 0, got -1"),
        ("workers", 100_000, "workers must be at most 1,024 processes, got 100,000"),
        ("batch_size", 0, "batch_size must be at least 1, got 0"),
        ("world_size", 0, "world_size must be at least 1, got 0"),
        ("clip_timeout", 0, "clip_timeout must be positive, got 0"),
        ("clip_timeout", -2.5, "clip_timeout must be positive, got -2.5"),
        ("clip_timeout", float("nan"), "clip_timeout must be positive, got nan"),
    ],
)
def test_nonsense_is_refused_with_the_value(field: str, value: float, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Runtime(**{field: value})  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_workers_are_counted_by_the_cores_this_process_may_use() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
    code += "from tvts_bench.runtime import default_workers; print(default_workers())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize(("processes", "workers"), [("1", 6), ("2", 3), ("4", 1), ("64", 1)])
def test_processes_of_one_machine_share_its_cores(
    monkeypatch: pytest.MonkeyPatch, processes: str, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)  # as torchrun does
    assert default_workers() == workers


def test_no_worker_is_allowed() -> None:
    assert Runtime(workers=0).workers == 0


def test_the_cache_is_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "here"))
    assert Runtime().cache == tmp_path / "here"
    assert not (tmp_path / "here").exists()  # asking for it makes no folder


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_it_is_the_users_cache(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(CACHE_VARIABLE, value)
    assert default_cache() == Path(platformdirs.user_cache_dir("tvts-bench"))


def test_silent_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with silent(3, "clips", "extracting") as advance:
        advance(1)
        advance(2)
    assert capsys.readouterr() == ("", "")
