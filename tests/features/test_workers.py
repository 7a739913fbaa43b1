"""Worker processes: order, files that cannot be read, that hang, that crash; and workers that are killed."""

import errno
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path, PosixPath
from typing import Any
from unittest.mock import Mock

import av
import psutil
import pytest
import torch

from tests.support.feature_world import SPEC, CrashingPath, HangingPath, make_records
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.features.base import Failure
from tvts_bench.features.decoding import Decoded, Decoding, decode, load_clips
from tvts_bench.video.clips import Clip, load_clip
from tvts_bench.video.packet_index import VideoDecodeError

DECODING = Decoding(clip=SPEC, decoder="pyav", workers=2, timeout=30.0)


def workers() -> list[psutil.Process]:
    """Decoding processes: the children of the server that our children include."""
    return [worker for server in psutil.Process().children() for worker in server.children()]


def gone(processes: list[psutil.Process]) -> bool:
    return not psutil.wait_procs(processes, timeout=10)[1]


def outcomes(records: list[VideoRecord], decoding: Decoding = DECODING) -> list[torch.Tensor | Failure]:
    """What came of every record, pixels copied."""
    with closing(load_clips(records, decoding)) as clips:
        return [outcome.pixels.clone() if isinstance(outcome, Decoded) else outcome for outcome in clips]


def reasons(results: list[torch.Tensor | Failure]) -> dict[int, str]:
    return {index: outcome.reason for index, outcome in enumerate(results) if isinstance(outcome, Failure)}


@pytest.fixture
def records(tmp_path: Path) -> list[VideoRecord]:
    return list(make_records(tmp_path / "videos", 30))


@pytest.mark.parametrize("number", [0, 1, 3])
def test_clips_come_in_record_order_with_the_pixels_of_their_file(records: list[VideoRecord], number: int) -> None:
    expected = [load_clip(record.path, record.id, SPEC, "pyav").pixels for record in records]
    results = outcomes(records, replace(DECODING, workers=number))
    assert len(results) == len(expected)
    for pixels, right in zip(results, expected, strict=True):
        assert isinstance(pixels, torch.Tensor)
        assert torch.equal(pixels, right)


def test_several_views_arrive_whole(records: list[VideoRecord]) -> None:
    spec = replace(SPEC, temporal_views=2, spatial_views=3)
    results = outcomes(records[:3], replace(DECODING, clip=spec))
    right = load_clip(records[2].path, records[2].id, spec, "pyav").pixels
    assert isinstance(results[2], torch.Tensor)
    assert results[2].shape == (6, 3, 4, 32, 32)
    assert torch.equal(results[2], right)


@pytest.mark.parametrize("number", [0, 2])
def test_an_unreadable_file_is_a_failure_that_stays(records: list[VideoRecord], tmp_path: Path, number: int) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video at all")
    records[4] = replace(records[4], path=text)
    records[9] = replace(records[9], path=tmp_path / "absent.mp4")
    results = outcomes(records, replace(DECODING, workers=number))
    assert set(reasons(results)) == {4, 9}
    assert str(text) in reasons(results)[4]
    assert "no such file" in reasons(results)[9]
    assert not any(outcome.retry for outcome in results if isinstance(outcome, Failure))


def test_a_file_that_hangs_costs_its_time_limit_only(records: list[VideoRecord]) -> None:
    records[5] = replace(records[5], path=HangingPath(records[5].path))
    start = time.monotonic()
    results = outcomes(records, replace(DECODING, timeout=2.0))
    assert reasons(results) == {5: f"decoding {records[5].path} timed out after 2 s"}
    assert isinstance(results[5], Failure)
    assert results[5].retry
    assert time.monotonic() - start < 20


def test_files_that_crash_their_worker_are_listed_and_the_rest_is_read(records: list[VideoRecord]) -> None:
    crashing = {0, 3, 4, 29}
    for index in crashing:
        records[index] = replace(records[index], path=CrashingPath(records[index].path))
    results = outcomes(records)
    assert set(reasons(results)) == crashing
    assert reasons(results)[3].startswith(f"decoding {records[3].path} crashed the worker")
    assert all(outcome.retry for outcome in results if isinstance(outcome, Failure))


def fork_servers() -> list[psutil.Process]:
    return [worker.parent() for worker in workers()]


@pytest.mark.parametrize("victims", [workers, fork_servers], ids=["workers", "server"])
def test_what_is_killed_from_outside_is_started_again_and_no_clip_is_lost(
    records: list[VideoRecord], victims: Callable[[], list[psutil.Process]]
) -> None:
    many = [replace(record, id=f"{part}-{record.id}") for part in range(10) for record in records]
    expected = [load_clip(record.path, record.id, SPEC, "pyav").pixels for record in records] * 10
    before: list[psutil.Process] = []
    with closing(load_clips(many, DECODING)) as clips:
        for index, (outcome, right) in enumerate(zip(clips, expected, strict=True)):
            assert isinstance(outcome, Decoded), outcome
            assert torch.equal(outcome.pixels, right)
            if index in (3, 150):
                before += workers()
                for process in set(victims()):
                    os.kill(process.pid, signal.SIGKILL)
    assert len(before) >= 2 * DECODING.workers
    assert gone(before)


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_want_of_descriptors_is_no_fault_of_the_file(records: list[VideoRecord], decoder: str) -> None:
    decoding = replace(DECODING, workers=0, decoder=decoder)
    (right,) = outcomes(records[:1], decoding)
    assert isinstance(right, torch.Tensor)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    failures = 0
    for more in range(12):
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + more, hard))
        try:
            outcome = decode(records[0], decoding)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if isinstance(outcome, Failure):
            failures += 1
            assert outcome.retry, outcome
            assert "Too many open files" in outcome.reason
        else:
            assert torch.equal(outcome.pixels, right)
    assert 0 < failures < 12


def test_damage_that_ffmpeg_takes_for_a_disk_error_is_the_files(records: list[VideoRecord]) -> None:
    """Trying such a file again would never end."""
    damaged = VideoDecodeError(records[0].path, "damaged")
    damaged.__cause__ = av.FFmpegError(errno.EIO, "Input/output error", "x.webm")
    assert not damaged.transient
    damaged.__cause__ = OSError(errno.EIO, "Input/output error", "x.webm")
    assert damaged.transient


class ScarcePath(PosixPath):
    """A file in whose worker no other can be opened any more."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        if multiprocessing.parent_process() is not None:
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
        return os.stat(os.fspath(self), follow_symlinks=follow_symlinks)  # noqa: PTH116 - what Path.stat does


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_want_of_descriptors_in_a_worker_is_transient(records: list[VideoRecord], decoder: str) -> None:
    scarce = replace(records[0], path=ScarcePath(records[0].path))
    (failure,) = outcomes([scarce], replace(DECODING, workers=1, decoder=decoder))
    assert isinstance(failure, Failure)
    assert failure.retry
    assert "Too many open files" in failure.reason


def test_a_file_that_hangs_costs_its_time_limit_without_workers_too(
    records: list[VideoRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    end = threading.Event()

    def hanging(path: Path, *rest: Any) -> Clip:
        if path == records[1].path:
            end.wait()
        return load_clip(path, *rest)

    monkeypatch.setattr("tvts_bench.features.decoding.load_clip", hanging)
    results = outcomes(records[:3], replace(DECODING, workers=0, timeout=0.5))
    end.set()
    assert reasons(results) == {1: f"decoding {records[1].path} timed out after 0.5 s"}
    assert isinstance(results[1], Failure)
    assert results[1].retry


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_want_of_memory_is_no_fault_of_the_file(
    records: list[VideoRecord], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("tvts_bench.features.decoding.load_clip", Mock(side_effect=error))
    (failure,) = outcomes(records[:1], replace(DECODING, workers=0))
    assert failure == Failure(reason=f"cannot read {records[0].path}: out of memory", retry=True)


def test_no_worker_is_left_when_the_caller_stops_early(records: list[VideoRecord]) -> None:
    records[2] = replace(records[2], path=HangingPath(records[2].path))
    with closing(load_clips(records, DECODING)) as clips:
        next(clips)
        started = workers()
        assert len(started) == 2
        start = time.monotonic()
    assert gone(started)
    assert time.monotonic() - start < 3
