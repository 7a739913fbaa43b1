"""Frames of a video file by index, exactly: frame i is the i-th of sequential decoding, whatever the container.

decord reads what it gives exactly as PyAV would; everything else, whatever it fails on, and files damaged where it
looks, PyAV decodes from the start. So the bytes are the same whichever decoder is chosen. Frames are turned and
mirrored as the file's display matrix says.
"""

from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvts_bench.errors import UserError
from tvts_bench.video import decord_decoder, pyav_decoder
from tvts_bench.video.packet_index import read_index
from tvts_bench.video.sampling import Sample

DECODERS = ("decord", "pyav")
VERSION = 2  # of this package's part in reading: raised when frames of any file may come out differently


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedFrames:
    """Frames of one file and what read them."""

    frames: NDArray[np.uint8]  # [T, H, W, 3] RGB, upright
    num_frames: int  # how many the file really has, not what its header says
    decoder: str  # "decord 0.6.0" or "PyAV 18.1.0": what read them, which need not be what was wanted
    damaged: int = 0  # frames on the way to them that are lost, or that FFmpeg knows to be partly made up


def decode_frames(path: Path, sample: Sample, decoder: str = "decord") -> DecodedFrames:
    """The frames of a video that `sample` picks, in its order.

        decode_frames(path, lambda n: np.array([0, n // 2, n - 1]))      the first, the middle and the last

    Args:
        path: The video.
        sample: From the number of frames to indices in any order, repeats allowed. It may be called more than once and
            must answer the same for the same number.
        decoder: One of `DECODERS`.

    Raises:
        VideoDecodeError: The file cannot be read, or is cut off or damaged so that frames are missing.
        UserError: `decoder` is none of them.
    """
    _require_decoder(decoder)
    index = read_index(path)
    frames, num_frames, damaged = None, index.num_frames, index.lost
    if decoder == "decord" and index.seekable:
        frames = decord_decoder.decode(path, index, sample)
    if frames is None:
        decoder = "pyav"
        frames, num_frames, damaged = pyav_decoder.decode(path, index, sample)
    return DecodedFrames(frames=frames, num_frames=num_frames, decoder=_version(decoder), damaged=damaged)


def decoder_identity(decoder: str) -> str:
    """Everything that may read a file for `decoder`, with versions: part of every feature key.

    Raises:
        UserError: `decoder` is none of `DECODERS`.
    """
    _require_decoder(decoder)
    used = f"{_version('decord')} / {_version('pyav')}" if decoder == "decord" else _version(decoder)
    return f"{used}, reader {VERSION}"


def _require_decoder(decoder: str) -> None:
    if decoder not in DECODERS:
        raise UserError(f"unknown decoder {decoder!r}; there are: {', '.join(DECODERS)}")


@cache  # reading a distribution's metadata takes as long as decoding ten small frames
def _version(decoder: str) -> str:
    name, package = {"decord": ("decord", "decord"), "pyav": ("PyAV", "av")}[decoder]
    return f"{name} {metadata.version(package)}"
