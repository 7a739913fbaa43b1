"""Worker processes: order, files that cannot be read, that hang, that crash; and workers that are killed."""

import os
import signal
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from tests.features.feature_world import SPEC, CrashingPath, HangingPath, make_records
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.features.base import Failure
from tvts_bench.features.decoding import Decoded, Decoding
from tvts_bench.features.workers import load_clips
from tvts_bench.video.clips import load_clip

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


def reasons(found: list[torch.Tensor | Failure]) -> dict[int, str]:
    return {index: outcome.reason for index, outcome in enumerate(found) if isinstance(outcome, Failure)}


@pytest.fixture
def records(tmp_path: Path) -> list[VideoRecord]:
    return list(make_records(tmp_path / "videos", 30))


@pytest.mark.parametrize("number", [0, 1, 3])
def test_clips_come_in_record_order_with_the_pixels_of_their_file(records: list[VideoRecord], number: int) -> None:
    expected = [load_clip(record.path, record.id, SPEC, "pyav").pixels for record in records]
    found = outcomes(records, replace(DECODING, workers=number))
    assert len(found) == len(expected)
    for pixels, right in zip(found, expected, strict=True):
        assert isinstance(pixels, torch.Tensor)
        assert torch.equal(pixels, right)


def test_several_views_arrive_whole(records: list[VideoRecord]) -> None:
    spec = replace(SPEC, temporal_views=2, spatial_views=3)
    found = outcomes(records[:3], replace(DECODING, clip=spec))
    right = load_clip(records[2].path, records[2].id, spec, "pyav").pixels
    assert isinstance(found[2], torch.Tensor)
    assert found[2].shape == (6, 3, 4, 32, 32)
    assert torch.equal(found[2], right)


@pytest.mark.parametrize("number", [0, 2])
def test_an_unreadable_file_is_a_failure_that_stays(records: list[VideoRecord], tmp_path: Path, number: int) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("no video at all")
    records[4] = replace(records[4], path=text)
    records[9] = replace(records[9], path=tmp_path / "absent.mp4")
    found = outcomes(records, replace(DECODING, workers=number))
    assert set(reasons(found)) == {4, 9}
    assert str(text) in reasons(found)[4]
    assert "no such file" in reasons(found)[9]
    assert not any(outcome.retry for outcome in found if isinstance(outcome, Failure))


def test_a_file_that_hangs_costs_its_time_limit_only(records: list[VideoRecord]) -> None:
    records[5] = replace(records[5], path=HangingPath(records[5].path))
    start = time.monotonic()
    found = outcomes(records, replace(DECODING, timeout=2.0))
    assert reasons(found) == {5: f"decoding {records[5].path} timed out after 2 s"}
    assert isinstance(found[5], Failure)
    assert found[5].retry
    assert time.monotonic() - start < 20


def test_files_that_crash_their_worker_are_listed_and_the_rest_is_read(records: list[VideoRecord]) -> None:
    crashing = {0, 3, 4, 29}
    for index in crashing:
        records[index] = replace(records[index], path=CrashingPath(records[index].path))
    found = outcomes(records)
    assert set(reasons(found)) == crashing
    assert reasons(found)[3].startswith(f"decoding {records[3].path} crashed the worker")
    assert all(outcome.retry for outcome in found if isinstance(outcome, Failure))


def test_workers_killed_from_outside_lose_at_most_the_clips_they_held(records: list[VideoRecord]) -> None:
    many = [replace(record, id=f"{part}-{record.id}") for part in range(10) for record in records]
    found = []
    with closing(load_clips(many, DECODING)) as clips:
        for index, outcome in enumerate(clips):
            found.append(outcome)
            if index in (3, 100):
                for worker in workers():
                    os.kill(worker.pid, signal.SIGKILL)
    lost = [outcome for outcome in found if isinstance(outcome, Failure)]
    assert len(found) == len(many)
    assert len(lost) <= 4 * DECODING.workers
    assert all("crashed the worker" in outcome.reason and outcome.retry for outcome in lost)


def test_no_worker_is_left_when_the_caller_stops_early(records: list[VideoRecord]) -> None:
    records[2] = replace(records[2], path=HangingPath(records[2].path))
    with closing(load_clips(records, DECODING)) as clips:
        next(clips)
        started = workers()
        assert len(started) == 2
        start = time.monotonic()
    assert gone(started)
    assert time.monotonic() - start < 3
