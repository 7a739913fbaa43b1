"""Pictures are shown as the file says, and are the same bytes whichever decoder is chosen."""

from pathlib import Path

import av
import decord
import numpy as np
import pytest
from av.video.stream import VideoStream

from pretrain.data.timestamp_decoder import frames_at
from tests.support.coded_video import VP9, X264_CLOSED, Picture, Writer, coded_picture, write_video
from tests.support.field_video import write_fields
from tests.support.hostile_video import sequential, write_sizes
from tvts_bench.video.reader import DECODERS, decode_frames

ONE = 1 << 16  # of the fixed-point numbers in a display matrix
# (a, b, c, d): a pixel at x, y is shown at a x + c y, b x + d y.
ORIENTATIONS = {
    "upright": (1, 0, 0, 1),
    "clockwise": (0, 1, -1, 0),
    "upside down": (-1, 0, 0, -1),
    "counterclockwise": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "flipped": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "anti-transposed": (0, -1, -1, 0),
}


def moved(picture: Picture, matrix: tuple[int, int, int, int]) -> Picture:
    """Each pixel put where the matrix says."""
    a, b, c, d = matrix
    y, x = np.indices(picture.shape[:2])
    to_x, to_y = a * x + c * y, b * x + d * y
    to_x, to_y = to_x - to_x.min(), to_y - to_y.min()
    shown = np.empty((to_y.max() + 1, to_x.max() + 1, 3), np.uint8)
    shown[to_y, to_x] = picture
    return shown


def write_oriented(path: Path, matrix: tuple[int, int, int, int], num_frames: int = 60) -> Path:
    a, b, c, d = (ONE * value for value in matrix)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=X264_CLOSED)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        for index in range(num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(coded_picture(index + 1), format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_orientation_comes_upright_from_both_decoders_and_in_pretraining(
    name: str, suffix: str, tmp_path: Path
) -> None:
    matrix = ORIENTATIONS[name]
    path = write_oriented(tmp_path / f"a{suffix}", matrix)
    stored, _ = sequential(path)
    expected = np.stack([moved(picture, matrix) for picture in stored[[0, 7, 55]]])
    for decoder in DECODERS:
        frames = decode_frames(path, lambda n: np.array([0, 7, 55]), decoder).frames
        np.testing.assert_array_equal(frames, expected)
    np.testing.assert_array_equal(frames_at(path, np.array([0.0, 0.29, 2.21])), expected)
    np.testing.assert_array_equal(frames_at(path, np.array([2.21])), expected[2:])


def noise_video(
    path: Path,
    codec: str,
    size: tuple[int, int],
    pix_fmt: str = "yuv420p",
    *,
    colours: tuple[int, int] = (2, 0),
    x264: str = "",
) -> Path:
    """Six frames of coloured blocks; `colours`: FFmpeg's numbers of the colour space and of the range."""
    width, height = size
    rng = np.random.default_rng(0)
    options = (X264_CLOSED | ({"x264-params": x264} if x264 else {})) if codec == "libx264" else VP9
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=dict(options))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.colorspace, stream.codec_context.color_range = colours
        for _ in range(6):
            blocks = rng.integers(0, 255, ((height + 7) // 8, (width + 7) // 8, 3), dtype=np.uint8)
            picture = np.ascontiguousarray(blocks.repeat(8, 0).repeat(8, 1)[:height, :width])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
            frame.colorspace, frame.color_range = colours
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def vp9(width: int = 64, height: int = 48, pix_fmt: str = "yuv420p") -> Writer:
    return lambda d: noise_video(d / "a.webm", "libvpx-vp9", (width, height), pix_fmt)


def h264(
    width: int = 64, height: int = 48, pix_fmt: str = "yuv420p", *, colours: tuple[int, int] = (2, 0), x264: str = ""
) -> Writer:
    return lambda d: noise_video(d / "a.mp4", "libx264", (width, height), pix_fmt, colours=colours, x264=x264)


SIZES = [(64, 48), (62, 46), (66, 50), (63, 48), (64, 47), (63, 47), (426, 239), (2, 2), (8, 8)]
FORMATS = ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"]
COLOURS = [(space, span) for space in (1, 5, 6, 9) for span in (1, 2)]
PICTURES: dict[str, Writer] = {
    **{f"vp9-{w}x{h}": vp9(w, h) for w, h in SIZES},
    **{f"h264-{w}x{h}": h264(w, h) for w, h in SIZES if w % 2 == h % 2 == 0},
    **{f"h264-{pix_fmt}": h264(pix_fmt=pix_fmt) for pix_fmt in (*FORMATS, "yuvj420p", "gray")},
    **{f"vp9-{pix_fmt}": vp9(pix_fmt=pix_fmt) for pix_fmt in (*FORMATS[:3], "yuva420p")},
    **{f"h264-colours-{space}-{span}": h264(colours=(space, span)) for space, span in COLOURS},
    "h264-yuv444p-odd": h264(63, 47, "yuv444p"),
    "h264-interlaced": h264(64, 64, x264="interlaced=1"),
    "h264-flat-pixels": h264(x264="sar=4/3"),
    "h264-fields": lambda d: write_fields(d / "a.mp4"),
    "vp9-sizes-that-change": lambda d: write_sizes(d / "a.webm", "libvpx-vp9", VP9),
    "h264-sizes-that-change": lambda d: write_sizes(d / "a.mkv", "libx264", X264_CLOSED),
    "rotated-mp4": lambda d: write_video(d / "a.mp4", options=X264_CLOSED, rotate=90),
    "rotated-mkv": lambda d: write_video(d / "a.mkv", options=X264_CLOSED, rotate=90),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_the_bytes_are_the_same_whichever_decoder_is_chosen(kind: str, tmp_path: Path) -> None:
    path = PICTURES[kind](tmp_path)
    first, second = (decode_frames(path, lambda n: np.arange(n), decoder) for decoder in DECODERS)
    np.testing.assert_array_equal(first.frames, second.frames)
    assert (first.num_frames, first.damaged) == (second.num_frames, second.damaged)


@pytest.mark.parametrize("kind", ["h264-64x48", "vp9-64x48", "vp9-63x48", "h264-yuvj420p", "rotated-mp4"])
def test_decord_reads_what_it_turns_into_the_same_bytes(kind: str, tmp_path: Path) -> None:
    decoded = decode_frames(PICTURES[kind](tmp_path), lambda n: np.arange(n), "decord")
    assert decoded.decoder == f"decord {decord.__version__}"


@pytest.mark.parametrize("kind", ["vp9-64x47", "h264-interlaced"])
def test_decord_alone_would_give_other_bytes(kind: str, tmp_path: Path) -> None:
    """Why it is not used for these."""
    path = PICTURES[kind](tmp_path)
    reader = decord.VideoReader(str(path), num_threads=1)
    alone = reader.get_batch(np.arange(len(reader))).asnumpy()
    decoded = decode_frames(path, lambda n: np.arange(n), "decord")
    assert decoded.decoder.startswith("PyAV")
    assert (alone != decoded.frames).any()
