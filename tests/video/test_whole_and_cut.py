"""A healthy file is read, however odd its packets; a cut one is refused, however healthy its packets."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream

from tests.support.coded_video import X264_CLOSED, codes, write_video
from tests.support.hostile_video import (
    HEALTHY,
    TO_CUT,
    cut,
    num_packets,
    sequential,
    write_with_sound,
    zero_middle,
)
from tvts_bench.video.packet_index import VideoDecodeError
from tvts_bench.video.reader import DECODERS, decode_frames

pytestmark = pytest.mark.parametrize("decoder", DECODERS)


@pytest.mark.parametrize("kind", HEALTHY)
def test_a_healthy_file_has_the_frames_of_sequential_decoding(kind: str, decoder: str, tmp_path: Path) -> None:
    writer, count = HEALTHY[kind]
    path = writer(tmp_path)
    expected, corrupt = sequential(path)
    assert (len(expected), corrupt) == (count, 0)
    decoded = decode_frames(path, lambda n: np.arange(n), decoder)
    assert (decoded.num_frames, decoded.damaged) == (count, 0)
    np.testing.assert_array_equal(decoded.frames, expected)
    wanted = np.random.default_rng(0).integers(0, count, 16)
    np.testing.assert_array_equal(decode_frames(path, lambda n: wanted, decoder).frames, expected[wanted])


def test_packets_in_front_of_a_cut_are_no_frames(decoder: str, tmp_path: Path) -> None:
    path = HEALTHY["edit-list-mp4"][0](tmp_path)
    assert num_packets(path) == 90
    assert codes(decode_frames(path, lambda n: np.arange(n), decoder).frames) == list(range(30, 90))


def test_alternate_reference_frames_are_no_frames(decoder: str, tmp_path: Path) -> None:
    path = HEALTHY["vp8-alternate-reference-webm"][0](tmp_path)
    assert num_packets(path) >= 120
    assert decode_frames(path, lambda n: np.arange(n), decoder).num_frames == 100


def test_two_fields_are_one_frame(decoder: str, tmp_path: Path) -> None:
    path = HEALTHY["fields-mp4"][0](tmp_path)
    assert num_packets(path) == 40
    assert codes(decode_frames(path, lambda n: np.arange(n), decoder).frames) == list(range(20))


def assert_refused(path: Path, decoder: str) -> None:
    with pytest.raises(VideoDecodeError, match=r"truncated|corrupt|cut off"):
        decode_frames(path, lambda n: np.arange(n), decoder)


@pytest.mark.parametrize("kind", TO_CUT)
def test_a_file_cut_at_60_percent_is_refused(kind: str, decoder: str, tmp_path: Path) -> None:
    path = TO_CUT[kind](tmp_path)
    assert decode_frames(path, lambda n: np.arange(n), decoder).num_frames == 250
    cut(path)
    assert_refused(path, decoder)


@pytest.mark.parametrize("kind", TO_CUT)
def test_a_hole_of_zeros_is_refused(kind: str, decoder: str, tmp_path: Path) -> None:
    path = TO_CUT[kind](tmp_path)
    zero_middle(path)
    assert_refused(path, decoder)


def test_a_picture_that_ends_before_the_cut_is_whole(decoder: str, tmp_path: Path) -> None:
    """Of 4 s of picture and 30 s of sound the first 60 % hold all of the picture, as its own length says."""
    path = write_with_sound(tmp_path / "a.webm", num_frames=100, seconds=30)
    cut(path)
    assert decode_frames(path, lambda n: np.arange(n), decoder).num_frames == 100


def test_an_mp4_that_loses_its_head_or_its_index_is_refused(decoder: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", options=X264_CLOSED)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"moov", b"lost"))
    with pytest.raises(VideoDecodeError):
        decode_frames(path, lambda n: np.arange(n), decoder)


def test_sound_only_and_a_stream_without_a_packet_are_refused(decoder: str, tmp_path: Path) -> None:
    sound = tmp_path / "a.mp4"
    with av.open(str(sound), "w") as container:
        audio = container.add_stream("aac", rate=48000, layout="mono")
        assert isinstance(audio, AudioStream)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        block.sample_rate = 48000
        container.mux(audio.encode(block))
        container.mux(audio.encode(None))
    with pytest.raises(VideoDecodeError, match="it holds no video stream, only audio"):
        decode_frames(sound, lambda n: np.arange(n), decoder)
    empty = tmp_path / "a.mkv"
    write_video(empty, options=X264_CLOSED, num_frames=1)
    data = empty.read_bytes()
    empty.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    with pytest.raises(VideoDecodeError):
        decode_frames(empty, lambda n: np.arange(n), decoder)


def test_a_packet_that_an_index_lists_in_vain_is_counted(decoder: str, tmp_path: Path) -> None:
    """Few enough are missing for the file to be read; that they are missing is reported."""
    path = write_video(tmp_path / "a.avi", "mpeg4", 200, b_frames=0, gop=1)
    data = bytearray(path.read_bytes())
    middle = data.index(b"00dc", len(data) // 3)
    data[middle : middle + 4] = b"\0\0\0\0"
    path.write_bytes(data)
    decoded = decode_frames(path, lambda n: np.arange(n), decoder)
    assert decoded.num_frames < 200
    assert decoded.damaged >= 200 - decoded.num_frames
