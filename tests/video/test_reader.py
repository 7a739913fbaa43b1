"""Frame i is the i-th frame, whatever the container; what cannot be read says so in one sentence."""

import os
import pickle
import struct
from pathlib import Path

import av
import decord
import numpy as np
import pytest
from av.audio.stream import AudioStream

from tests.support.coded_video import EVERY_CONTAINER, VP9, X264_CLOSED, codes, write_packed, write_video
from tvts_bench.errors import UserError
from tvts_bench.video.packet_index import VideoDecodeError
from tvts_bench.video.reader import DECODERS, decode_frames, decoder_identity
from tvts_bench.video.sampling import IntArray

pytestmark = pytest.mark.parametrize("decoder", DECODERS)


def every(n: int) -> IntArray:
    return np.arange(n)


def decoded_codes(path: Path, decoder: str, sample: object = every) -> list[int]:
    return codes(decode_frames(path, sample, decoder).frames)  # type: ignore[arg-type]


@pytest.mark.parametrize("container", EVERY_CONTAINER)
def test_every_index_gives_its_frame(container: str, decoder: str, tmp_path: Path) -> None:
    path = EVERY_CONTAINER[container](tmp_path)
    total = 41 if "packed" in container else 40
    rng = np.random.default_rng(0)
    for _ in range(5):
        wanted = rng.integers(0, total, 16)
        decoded = decode_frames(path, lambda n, wanted=wanted: wanted, decoder)  # type: ignore[misc]
        assert decoded.num_frames == total
        assert codes(decoded.frames) == wanted.tolist()
    assert decoded_codes(path, decoder) == list(range(total))


def test_decord_alone_would_be_wrong_on_some(decoder: str, tmp_path: Path) -> None:
    """Why the guard is there: the same indices, read by decord directly."""
    wanted = np.random.default_rng(0).integers(0, 40, 16)
    path = write_video(tmp_path / "a.avi", "mpeg4")
    assert codes(decord.VideoReader(str(path), num_threads=1).get_batch(wanted).asnumpy()) != wanted.tolist()
    assert decoded_codes(path, decoder, lambda n: wanted) == wanted.tolist()


def test_what_read_the_file_is_recorded(decoder: str, tmp_path: Path) -> None:
    seekable = write_video(tmp_path / "a.mp4", options=X264_CLOSED)
    not_seekable = write_video(tmp_path / "a.avi", "mpeg4")
    pyav = f"PyAV {av.__version__}"
    expected = f"decord {decord.__version__}" if decoder == "decord" else pyav
    assert decode_frames(seekable, every, decoder).decoder == expected
    assert decode_frames(not_seekable, every, decoder).decoder == pyav
    used = f"{expected} / {pyav}" if decoder == "decord" else pyav
    assert decoder_identity(decoder) == f"{used}, reader 2"


@pytest.mark.parametrize("junk", [1, 3])
def test_header_that_promises_a_few_frames_too_many(junk: int, decoder: str, tmp_path: Path) -> None:
    path = write_packed(tmp_path / "a.avi", junk=junk)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 41 + junk
    decoded = decode_frames(path, lambda n: np.array([n - 1, n // 3, n % 7]), decoder)
    assert decoded.num_frames == 41
    assert codes(decoded.frames) == [40, 13, 6]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_frame_rate(suffix: str, decoder: str, tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(0).integers(5, 400, 30)).tolist()
    path = write_video(tmp_path / f"a{suffix}", num_frames=30, options=X264_CLOSED, times=times)
    wanted = [29, 0, 13, 14, 12, 3]
    assert decoded_codes(path, decoder, lambda n: np.array(wanted)) == wanted


@pytest.mark.parametrize(("angle", "turns"), [(0, 0), (90, 1), (180, 2), (270, 3)])
def test_rotated_frames_come_upright(angle: int, turns: int, decoder: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=5, options=X264_CLOSED, rotate=angle)
    frames = decode_frames(path, every, decoder).frames
    assert frames.shape[1:3] == ((64, 96) if turns % 2 == 0 else (96, 64))
    assert codes(np.rot90(frames, -turns, axes=(1, 2))) == list(range(5))


def test_both_decoders_give_the_same_bytes(decoder: str, tmp_path: Path) -> None:
    for path in (
        write_video(tmp_path / "a.mp4", options=X264_CLOSED, rotate=90),
        write_video(tmp_path / "a.webm", "libvpx-vp9", options=VP9),
    ):
        frames = decode_frames(path, every, decoder).frames
        assert (frames == decode_frames(path, every, "pyav").frames).all()


def test_one_frame(decoder: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=1, options=X264_CLOSED)
    assert decoded_codes(path, decoder, lambda n: np.zeros(16, dtype=int)) == [0] * 16


@pytest.mark.parametrize("size", [(97, 65), (1, 1), (33, 2)])
def test_odd_sizes(size: tuple[int, int], decoder: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=3, options=X264_CLOSED, size=size, pix_fmt="yuv444p")
    assert decode_frames(path, every, decoder).frames.shape == (3, size[1], size[0], 3)


@pytest.mark.parametrize("name", ["-dash.mp4", "zwei Hütten 视频.mp4", "pipe:0", "concat:a.mp4|b.mp4", "100%d.mp4"])
def test_names_that_look_like_something_else(
    name: str, decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mp4", num_frames=3, options=X264_CLOSED).rename(tmp_path / name)
    assert decoded_codes(Path(name), decoder) == [0, 1, 2]


def test_a_name_that_is_not_text(decoder: str, tmp_path: Path) -> None:
    path = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.mp4"))
    write_video(tmp_path / "a.mp4", num_frames=3, options=X264_CLOSED).rename(path)
    assert decoded_codes(path, decoder) == [0, 1, 2]


def test_tags_in_latin_1(decoder: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", "mpeg4", 3, b_frames=0, tags={"title": "Pippi_LXngstrump"})
    path.write_bytes(path.read_bytes().replace(b"LXngstrump", b"L\xe5ngstrump"))
    with pytest.raises(UnicodeDecodeError), av.open(str(path)):
        pass
    assert decoded_codes(path, decoder) == [0, 1, 2]


def problem(path: Path, decoder: str) -> str:
    with pytest.raises(VideoDecodeError) as caught:
        decode_frames(path, every, decoder)
    message = str(caught.value)
    assert message.startswith(f"cannot read {path}: ")
    assert "\n" not in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message  # noqa: S301 - our own bytes
    return message.removeprefix(f"cannot read {path}: ")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".avi"])
def test_a_truncated_file_is_not_a_shorter_video(suffix: str, decoder: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".webm":
        write_video(path, "libvpx-vp9", 100, options=VP9)
    elif suffix == ".avi":
        write_video(path, "mpeg4", 100)
    else:
        write_video(path, num_frames=100, options=X264_CLOSED, muxer={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert problem(path, decoder).startswith(("truncated: header says 100 frames, ", "corrupt: header says 100 frames"))


def test_a_damaged_packet_is_not_papered_over_with_copies(decoder: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=60, options=X264_CLOSED, gop=300)
    with av.open(str(path)) as container:
        damaged = [packet for packet in container.demux(video=0) if packet.size][30]
        start = damaged.pos
    data = bytearray(path.read_bytes())
    assert start is not None
    struct.pack_into(">I", data, start, 0xFFFFFFFF)  # a NAL unit of four gigabytes
    path.write_bytes(data)
    assert problem(path, decoder).startswith("corrupt: header says 60 frames, ")


def test_without_its_index_an_mp4_cannot_be_read(decoder: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", options=X264_CLOSED)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # the moov box was at the end
    assert problem(path, decoder) == "it is not a video, or its head or index is cut off"


def test_what_is_not_there_or_not_a_video(decoder: str, tmp_path: Path) -> None:
    assert problem(tmp_path / "none.mp4", decoder) == "there is no such file"
    (tmp_path / "folder.mp4").mkdir()
    assert problem(tmp_path / "folder.mp4", decoder) == "it is a folder, not a file"
    (tmp_path / "zero.mp4").touch()
    assert problem(tmp_path / "zero.mp4", decoder) == "the file is empty (0 bytes)"
    os.mkfifo(tmp_path / "pipe.mp4")
    assert problem(tmp_path / "pipe.mp4", decoder) == "it is not a regular file"
    for text in ("hello\n", "#EXTM3U\n#EXTINF:1,\na.ts\n", "ffconcat version 1.0\nfile a.mp4\n"):
        (tmp_path / "text.mp4").write_text(text)
        assert problem(tmp_path / "text.mp4", decoder) == "it is not a video, or its head or index is cut off"


def test_no_permission(decoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=3)

    def refuse(*_: object, **__: object) -> None:  # a test may run as root, whom no mode bits stop
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert problem(path, decoder) == "no permission to read the file"


def test_unknown_codec(decoder: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=3, options=X264_CLOSED)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    assert problem(path, decoder) == "there is no decoder for its video codec"


def test_an_absurd_time_stamp_does_not_end_the_process(decoder: str, tmp_path: Path) -> None:
    """decord takes memory for every frame the duration suggests, and aborts when there is not enough."""
    path = write_video(tmp_path / "a.mp4", options=X264_CLOSED, muxer={"movflags": "frag_keyframe+empty_moov"})
    data = bytearray(path.read_bytes())
    data[data.rindex(b"tfdt") + 8] = 1  # the highest byte of the time at which the last fragment starts
    path.write_bytes(data)
    assert decoded_codes(path, decoder) == list(range(40))


def test_audio_only(decoder: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        assert isinstance(stream, AudioStream)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert problem(path, decoder) == "it holds no video stream, only audio"


def test_unknown_decoder(decoder: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"unknown decoder '{decoder}2'; there are: decord, pyav"):
        decode_frames(tmp_path / "a.mp4", every, decoder + "2")
