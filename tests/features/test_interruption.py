"""Runs that are killed, that run out of disk, or that share the work: real processes, bit-identical features."""

import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.support.feature_world import Linear, make_records, run, run_slowly, stored_files
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.features import store
from tvts_bench.runtime import Runtime

PROGRAM = ("-m", "tests.support.extract_records")
ROOT = Path(__file__).parents[2]
COUNT = 150
CONTEXT = multiprocessing.get_context("forkserver")


def values_after_kills(folder: Path, *, kills: int, workers: int, seed: int) -> tuple[list[bytes], bytes]:
    """Kill extractions at random moments of their run and resume; the features of each store that got finished."""
    records = make_records(folder / "videos", COUNT)
    whole = Runtime(workers=0, cache=folder / "whole")
    # In a process like those that are killed: torch's number of threads, which is this one's own, moves the last bit.
    reference = CONTEXT.Process(target=run_slowly, args=(records, whole))
    reference.start()
    reference.join()
    assert reference.exitcode == 0
    uninterrupted = run(Linear(), records, whole).values.tobytes()
    rng = random.Random(seed)
    finished: list[bytes] = []
    killed, duration = 0, 0.0
    while killed < kills or not finished:
        runtime = Runtime(workers=workers, cache=folder / f"killed{len(finished)}")
        process = CONTEXT.Process(target=run_slowly, args=(records, runtime))
        start = time.monotonic()
        process.start()
        # The first one shows how long a run takes.
        process.join(rng.uniform(0, duration) if duration and killed < kills else None)
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            killed += 1
            continue
        assert process.exitcode == 0
        duration = duration or time.monotonic() - start
        finished.append(run(Linear(), records, runtime).values.tobytes())
    return finished, uninterrupted


def test_extractions_killed_at_random_moments_resume_to_the_same_bytes(tmp_path: Path) -> None:
    finished, uninterrupted = values_after_kills(tmp_path, kills=5, workers=0, seed=0)
    assert set(finished) == {uninterrupted}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_twenty_kills(tmp_path: Path, seed: int) -> None:
    finished, uninterrupted = values_after_kills(tmp_path, kills=20, workers=2, seed=seed)
    assert set(finished) == {uninterrupted}


def lives(process: psutil.Process) -> bool:
    """A zombie does not; when it is taken off the list is up to the system's first process, which may be busy."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_nothing_survives_a_run_that_is_killed(tmp_path: Path) -> None:
    """Its workers, one of them stuck in a file, and the server that forked them go with it."""
    arguments = [sys.executable, *PROGRAM, str(tmp_path), "--workers", "2", "--hang", "100"]
    with subprocess.Popen(arguments, cwd=ROOT) as program:
        process, deadline = psutil.Process(program.pid), time.monotonic() + 60
        while len(stored_files(tmp_path / "cache")) < 1:
            assert program.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        family = process.children(recursive=True)
        program.kill()
    assert len(family) >= 4  # server, resource tracker, two workers
    deadline = time.monotonic() + 10
    while alive := [one for one in family if lives(one)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def run_with_little_space(records: Sequence[VideoRecord], runtime: Runtime, answer: Connection) -> None:
    """Send what the user reads when the system refuses to write a file of more than 1,500 bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
    try:
        run(Linear(), records, runtime)
    except UserError as error:
        answer.send(str(error))


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    records, runtime = make_records(tmp_path / "videos", 100), Runtime(workers=0, cache=tmp_path / "cache")
    run(Linear(), records[: store.SHARD_RECORDS], runtime)
    kept = stored_files(tmp_path / "cache")
    answer, there = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=run_with_little_space, args=(records, runtime, there))
    process.start()
    assert answer.recv().startswith(f"the disk is full (File too large) while writing features to {tmp_path}")
    process.join()
    assert stored_files(tmp_path / "cache") == kept
    assert not list(tmp_path.glob("cache/features/*/*.tmp"))
    assert run(Linear(), records, runtime).reused == len(kept) * store.SHARD_RECORDS


def test_torchrun_computes_each_clip_once_and_every_rank_has_all(tmp_path: Path) -> None:
    arguments = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    count = 2 * store.SHARD_RECORDS + 10  # three shards for two ranks
    subprocess.run([*arguments, *PROGRAM, str(tmp_path), "--count", str(count)], check=True, timeout=100, cwd=ROOT)
    records = make_records(tmp_path / "videos", count)
    alone = run(Linear(), records, Runtime(workers=0, cache=tmp_path / "alone"))
    facts = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert [fact["embedded"] for fact in facts] == [store.SHARD_RECORDS + 10, store.SHARD_RECORDS]
    for rank in (0, 1):
        assert facts[rank]["computed"] == count
        assert tuple(facts[rank]["ids"]) == alone.ids
        np.testing.assert_allclose(np.load(tmp_path / f"rank{rank}.npy"), alone.values, rtol=1e-5, atol=1e-5)
    assert (tmp_path / "rank0.npy").read_bytes() == (tmp_path / "rank1.npy").read_bytes()
