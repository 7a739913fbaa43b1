"""Commands that are told to stop while they extract features: what is finished is kept, and said."""

import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.plain_videos import write_plain_video
from tvts_bench.cli.main import app
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.features.base import Failure
from tvts_bench.features.decoding import Decoded, Decoding, load_clips

COUNT = 80  # two shards: 64 and 16


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A measurement of `COUNT` videos."""
    one = write_plain_video(tmp_path / "one.mp4", (200, 20, 20))
    for number in range(COUNT):
        path = tmp_path / "data" / "ab"[number % 2] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(one, path)
    options = {"--backbone": "pixels", "--dataset": "folder", "--root": str(tmp_path / "data"), "--dtype": "fp32"}
    options |= {"--cache": str(tmp_path / "cache"), "--out": str(tmp_path / "out"), "--workers": "1"}
    return ["retrieval", *(word for option in options.items() for word in option)]


def signalled(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the process get a signal as it takes the 70th clip."""

    def load(records: Sequence[VideoRecord], decoding: Decoding) -> Iterator[Decoded | Failure]:
        with closing(load_clips(records, decoding)) as clips:
            for count, clip in enumerate(clips):
                if count == 70:
                    signal.raise_signal(number)
                yield clip

    monkeypatch.setattr("tvts_bench.features.extraction.load_clips", load)


@pytest.fixture
def handled(request: pytest.FixtureRequest) -> Iterator[int]:
    """A signal, which has its default action as in a fresh process."""
    number = request.param
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, default)
    yield number
    assert signal.getsignal(number) == default  # the command leaves no handler behind
    signal.signal(number, before)


@pytest.mark.parametrize("handled", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], indirect=True)
def test_a_signal_keeps_what_is_finished_and_says_so(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, handled: int
) -> None:
    with monkeypatch.context() as patch:
        signalled(handled, patch)
        stopped = CliRunner().invoke(app, command)
    assert stopped.exit_code == 128 + handled
    by = "" if handled == signal.SIGINT else f" by {signal.Signals(handled).name}"
    assert f"stopped{by}; what was computed is kept, the same command resumes it" in stopped.stderr
    assert "Traceback" not in stopped.output
    assert len(list(tmp_path.glob("cache/features/*/*.safetensors"))) == 1
    kept = next(tmp_path.glob("cache/features/*/*.safetensors"))
    inode = kept.stat().st_ino
    assert CliRunner().invoke(app, command).exit_code == 0
    assert len(list(tmp_path.glob("cache/features/*/*.safetensors"))) == 2
    assert kept.stat().st_ino == inode


def test_a_command_under_nohup_goes_on(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signalled(signal.SIGHUP, monkeypatch)
        assert CliRunner().invoke(app, command).exit_code == 0
    finally:
        signal.signal(signal.SIGHUP, before)
