"""A file that FFmpeg mends with guesses is read, and named: the guesses of PyAV's decoder are those used."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import av  # before decord, whose libvpx would take the place of PyAV's in this process
import decord
import numpy as np
import pytest

from tests.support.coded_video import X264_CLOSED, write_video
from tests.support.hostile_video import damage, sequential, write_moving_noise
from tvts_bench import evaluate, load_backbone
from tvts_bench.check import check_dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.embed_files import embed_files
from tvts_bench.errors import UserError
from tvts_bench.evaluators.zero_shot_retrieval import ZeroShotRetrieval
from tvts_bench.report.folder import read_contents
from tvts_bench.report.page import build, render
from tvts_bench.results import load, save
from tvts_bench.runtime import Runtime
from tvts_bench.video.decord_decoder import CapturedErrors
from tvts_bench.video.reader import DECODERS, decode_frames


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    path = write_moving_noise(tmp_path / "damaged.mp4")
    assert damage(path) > 0
    return path


@pytest.mark.parametrize("decoder", DECODERS)
def test_damage_is_counted_and_sequential_decoding_decides(damaged: Path, decoder: str) -> None:
    expected, corrupt = sequential(damaged)
    decoded = decode_frames(damaged, lambda n: np.arange(n), decoder)
    assert (decoded.num_frames, decoded.damaged) == (60, corrupt)
    np.testing.assert_array_equal(decoded.frames, expected)
    assert decoded.decoder == f"PyAV {av.__version__}"


def test_the_same_file_without_damage_is_read_by_decord(tmp_path: Path) -> None:
    decoded = decode_frames(write_moving_noise(tmp_path / "a.mp4"), lambda n: np.arange(n), "decord")
    assert (decoded.decoder, decoded.damaged) == (f"decord {decord.__version__}", 0)


def test_what_ffmpeg_says_of_damage_stays_off_the_terminal(damaged: Path) -> None:
    script = (
        "import sys, numpy as np; from pathlib import Path; from tvts_bench.video.reader import decode_frames;"
        "decode_frames(Path(sys.argv[1]), lambda n: np.arange(n)); print('after', file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", script, str(damaged)], capture_output=True, text=True, check=True)
    assert run.stderr == "after\n"


def test_threads_do_not_lose_the_error_stream(damaged: Path, tmp_path: Path) -> None:
    """Healthy and damaged files at the same time: every damaged one is noticed, and the stream is back afterwards."""
    healthy = write_video(tmp_path / "a.mp4", options=X264_CLOSED)
    counts: list[int] = []

    def read(path: Path) -> None:
        counts.extend(decode_frames(path, lambda n: np.arange(n)).damaged for _ in range(5))

    threads = [threading.Thread(target=read, args=[path]) for path in (damaged, healthy, damaged, healthy)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(count > 0 for count in counts) == 10
    assert CapturedErrors._depth == 0


@pytest.fixture
def root(tmp_path: Path, damaged: Path) -> Path:
    """Two classes of two videos; one is damaged."""
    root = tmp_path / "root"
    for name in ("run", "walk"):
        (root / name).mkdir(parents=True)
    for seed, name in enumerate(("run/b.mp4", "walk/c.mp4", "walk/d.mp4")):
        write_moving_noise(root / name, seed=seed + 1)
    damaged.rename(root / "run" / "a.mp4")
    return root


@pytest.mark.parametrize("workers", [0, 1])
def test_a_result_names_damaged_clips_and_a_second_run_does_too(root: Path, tmp_path: Path, workers: int) -> None:
    runtime = Runtime(workers=workers, cache=tmp_path / "cache")
    dataset = load_dataset("folder", root)
    for _ in range(2):  # the second time from the feature store
        result = evaluate(load_backbone("pixels"), dataset, ZeroShotRetrieval(), runtime)
        assert result.coverage[0].damaged == ("run/a.mp4",)
        assert result.coverage[0].used == 4
        assert result.coverage[0].failed == {}
        assert any("1 of 4 videos of all are damaged inside" in note and "run/a.mp4" in note for note in result.notes)
    saved = save(result, tmp_path / "results")
    assert load(saved.json).coverage[0].damaged == ("run/a.mp4",)
    page = render(build(read_contents(tmp_path / "results"), queries=0))
    assert "1 of 4 videos of all are damaged inside" in page


def test_strict_makes_damage_an_error(root: Path, tmp_path: Path) -> None:
    runtime = Runtime(workers=0, cache=tmp_path / "cache", strict=True)
    with pytest.raises(UserError, match=r"1 of 4 videos of all are damaged inside.*run/a\.mp4"):
        evaluate(load_backbone("pixels"), load_dataset("folder", root), ZeroShotRetrieval(), runtime)
    backbone = load_backbone("pixels")
    with pytest.raises(UserError, match=r"are damaged inside.*run/a\.mp4"):
        embed_files([root], backbone, decoder="decord", dtype="fp32", runtime=runtime)


def test_check_lists_damage_with_a_count(root: Path, tmp_path: Path) -> None:
    runtime = Runtime(workers=0, cache=tmp_path / "cache")
    for _ in range(2):  # the second time from the journal
        report = check_dataset(load_dataset("folder", root), runtime)
        [row] = report.problems
        assert (row.id, row.problem) == ("run/a.mp4", "damaged")
        assert re.fullmatch(r"readable, but \d+ of 60 frames are made up in part or lost", row.detail)
        assert report.count("all", "damaged") == 1
