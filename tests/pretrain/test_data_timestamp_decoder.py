"""Frames at given times against a sequential decode of the whole file, and against the numbers drawn into them."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.data.timestamp_decoder import frames_at, video_duration
from tests.support.hostile_video import sequential as sequential_frames
from tests.support.hostile_video import write_cut
from tvts_bench.video.packet_index import VideoDecodeError

TICKS = 1000  # time base of the files written here


def write_video(path: Path, pts: list[int], codec: str, options: dict[str, str], gop: int = 12) -> None:
    """Frame i is a flat grey that tells its number, shown from `pts[i]` milliseconds on."""
    with av.open(path, "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        base = Fraction(1, 25) if path.suffix == ".avi" else Fraction(1, TICKS)
        stream.codec_context.time_base = base
        stream.codec_context.gop_size = gop
        for number, time in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), grey(number), np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(time / TICKS / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def grey(number: int) -> int:
    return 20 + (number * 37) % 216


def sequential(path: Path) -> tuple[Any, Any]:
    """All times (seconds from the first frame) and frames, decoded from the first to the last."""
    with av.open(path) as container:
        frames: list[Any] = list(container.decode(video=0))
    times = np.array([float(frame.pts * frame.time_base) for frame in frames])
    times = np.sort(times)  # AVI: FFmpeg's timestamps are out of order, the frames are not
    return times - times[0], np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


def shown(times: Any, wanted: Any) -> Any:
    return np.maximum(np.searchsorted(times, wanted, side="right") - 1, 0)


CONSTANT = [40 * i for i in range(200)]
VARIABLE = np.cumsum([0] + [20 + (i * i * 7) % 130 for i in range(119)]).tolist()
B_FRAMES = {"bf": "3", "preset": "veryfast", "sc_threshold": "0"}
FILES = {
    "constant.mp4": (CONSTANT, "libx264", B_FRAMES),
    "variable.mp4": (VARIABLE, "libx264", B_FRAMES),
    "variable.mkv": (VARIABLE, "libx264", B_FRAMES),
    "open-gop.mp4": (CONSTANT, "libx264", {**B_FRAMES, "x264-params": "open-gop=1:keyint=12:min-keyint=12"}),
    "vp9.webm": (CONSTANT, "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "b-frames.avi": (CONSTANT[:100], "mpeg4", {"bf": "2"}),
    "h264.avi": (CONSTANT[:100], "libx264", B_FRAMES),
    "stream.ts": (CONSTANT[:100], "libx264", B_FRAMES),
}


@pytest.fixture(scope="module", params=FILES)
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("window") / request.param
    pts, codec, options = FILES[request.param]
    write_video(path, pts, codec, options)
    return path


def test_any_window_equals_sequential_decoding(video: Path) -> None:
    times, frames = sequential(video)
    rng = np.random.default_rng(0)
    for _ in range(25):
        wanted = np.sort(rng.uniform(0, times[-1] + 0.03, size=rng.integers(1, 9)))
        np.testing.assert_array_equal(frames_at(video, wanted), frames[shown(times, wanted)])


def test_a_time_that_is_a_timestamp_gives_that_frame(video: Path) -> None:
    times, frames = sequential(video)
    for number in range(0, len(times), 13):
        np.testing.assert_array_equal(frames_at(video, times[number : number + 1] + 1e-6)[0], frames[number])


def test_frames_tell_their_numbers(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", CONSTANT, "libx264", B_FRAMES)
    frames = frames_at(tmp_path / "a.mp4", np.array([0.0, 0.039, 0.041, 3.0, 7.99]))
    assert frames.shape == (5, 32, 32, 3)
    told = frames.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(told, [grey(0), grey(0), grey(1), grey(75), grey(199)], atol=3)


def test_only_a_few_frames_are_decoded_of_a_long_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", [40 * i for i in range(1500)], "libx264", B_FRAMES)
    from pretrain.data import timestamp_decoder

    seen = 0
    timed = timestamp_decoder._timed

    def counting(frames: Any, stream: Any, *, guess: bool) -> Iterator[Any]:
        nonlocal seen
        for pair in timed(frames, stream, guess=guess):
            seen += 1
            yield pair

    monkeypatch.setattr(timestamp_decoder, "_timed", counting)
    frames_at(tmp_path / "a.mp4", np.array([40.0, 41.0]))
    assert 26 <= seen <= 45
    seen = 0
    frames_at(tmp_path / "a.mp4", np.array([59.0, 59.99]))  # the last frame is shown to the end
    assert seen <= 45


def test_a_time_behind_the_end_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", CONSTANT, "libx264", B_FRAMES)
    with pytest.raises(VideoDecodeError, match=r"a\.mp4.*ends at 8\.0 s"):
        frames_at(tmp_path / "a.mp4", np.array([5.0, 9.5]))


@pytest.mark.parametrize("content", [b"", b"not a video at all" * 100])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(VideoDecodeError, match=r"a\.mp4"):
        frames_at(tmp_path / "a.mp4", np.array([0.0]))
    with pytest.raises(VideoDecodeError, match=r"a\.mp4"):
        video_duration(tmp_path / "a.mp4")


def test_damage_is_an_error_or_the_frames_before_it(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", CONSTANT, "libx264", B_FRAMES)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoDecodeError, match=r"cut\.mp4"):
        frames_at(tmp_path / "cut.mp4", np.array([1.5, 7.0]))


def test_duration_comes_from_the_header(video: Path) -> None:
    times, _ = sequential(video)
    assert video_duration(video) == pytest.approx(times[-1], abs=0.2)


@settings(max_examples=15, deadline=None)
@given(gaps=st.lists(st.integers(1, 400), min_size=2, max_size=40), share=st.floats(0, 1))
def test_any_spacing_of_frames(tmp_path_factory: pytest.TempPathFactory, gaps: list[int], share: float) -> None:
    path = tmp_path_factory.mktemp("spacing") / "a.mkv"
    write_video(path, np.cumsum([0, *gaps]).tolist(), "libx264", B_FRAMES, gop=5)
    times, frames = sequential(path)
    wanted = np.array([share * times[-1], times[-1]])
    np.testing.assert_array_equal(frames_at(path, wanted), frames[shown(times, wanted)])


def test_times_of_a_file_that_was_cut_without_reencoding_count_from_its_cut(tmp_path: Path) -> None:
    """Frames stored in front of the cut are never shown, whether the file is entered at its start or behind it."""
    path = write_cut(tmp_path / "a.mp4", skip=30, num_frames=150)
    expected, _ = sequential_frames(path)
    for seconds in ((0.0, 1.0, 4.5), (2.0, 3.0, 4.5)):
        times = np.array(seconds) + 0.01
        np.testing.assert_array_equal(frames_at(path, times), expected[(times * 25).astype(int)])
