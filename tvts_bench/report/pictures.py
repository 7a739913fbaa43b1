"""A video as a small strip of frames, side by side in one picture, that the page plays by moving it.

A strip can be paused, which an animated GIF or WebP cannot: people who ask for less motion see its first frame.
"""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvts_bench.video import sequential
from tvts_bench.video.container import VideoDecodeError, read_index
from tvts_bench.video.sampling import segment_indices

FRAMES, SIDE = 8, 96  # of a strip; pixels of the longer side of a frame, which is never enlarged beyond its own
QUALITY = 50  # of WebP
BYTES = 8 * 2**20  # of all strips of a page; more are not made


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Frames of one video, side by side."""

    name: str  # unique on the page
    data: str  # data: URI of a WebP
    width: int  # of one frame, pixels
    height: int


class Strips:
    """The strips of a page, each video once, and how many bytes they take."""

    def __init__(self, limit: int = BYTES) -> None:
        self.limit, self.bytes, self.is_full = limit, 0, False
        self.by_path: dict[Path, Strip] = {}
        self.failed: dict[Path, str] = {}  # why there is none

    def add(self, path: Path) -> Strip | None:
        """The strip of a video; None where it cannot be read, or once one did not fit."""
        if path in self.by_path or path in self.failed or self.is_full:
            return self.by_path.get(path)
        try:
            strip = make_strip(path, f"p{len(self.by_path)}")
        except VideoDecodeError as error:
            self.failed[path] = error.problem
            return None
        self.is_full = self.bytes + len(strip.data) > self.limit
        if self.is_full:
            return None
        self.bytes += len(strip.data)
        self.by_path[path] = strip
        return strip


def make_strip(path: Path, name: str) -> Strip:
    """The middle frame of each of `FRAMES` equal parts of a video.

    Raises:
        VideoDecodeError: it cannot be read.
    """
    frames, _, _ = sequential.decode(path, read_index(path), lambda count: segment_indices(count, FRAMES))
    return _strip(frames, name)


def _strip(frames: NDArray[np.uint8], name: str) -> Strip:
    """`frames` [T, H, W, 3] side by side, as WebP."""
    from PIL import Image

    _, height, width, _ = frames.shape
    scale = min(1.0, SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    strip = Image.new("RGB", (size[0] * len(frames), size[1]))
    for number, frame in enumerate(frames):
        strip.paste(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS), (number * size[0], 0))
    buffer = io.BytesIO()
    strip.save(buffer, "WEBP", quality=QUALITY, method=4)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Strip(name=name, data=f"data:image/webp;base64,{data}", width=size[0], height=size[1])
