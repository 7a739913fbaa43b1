"""Videos of plain colours, whose neighbours are known by eye."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np


def write_plain_video(path: Path, colour: Sequence[int], *, frames: int = 4) -> Path:
    """A few equal frames of `colour` (RGB, clipped to bytes), 32 x 32, MPEG-4; folders are made."""
    return write_frames(path, [colour] * frames)


def write_frames(path: Path, colours: Sequence[Sequence[int]]) -> Path:
    """One frame of each colour in turn, as `write_plain_video` writes them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for colour in colours:
            picture = np.full((32, 32, 3), np.clip(colour, 0, 255), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path
