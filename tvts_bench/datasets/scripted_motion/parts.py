"""What each part of a world consists of, and the bytes of its files: real videos, in the real data sets' codecs."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tvts_bench.datasets.scripted_motion import narration
from tvts_bench.datasets.scripted_motion.clips import ScriptedClip, take
from tvts_bench.datasets.scripted_motion.layouts import LAYOUTS
from tvts_bench.datasets.scripted_motion.narration import NarratedVideo
from tvts_bench.datasets.scripted_motion.world import World

_NARRATED = {"narrated-train": "train", "narrated-val": "val"}

PARTS: tuple[str, ...] = (*LAYOUTS, *_NARRATED)
"""Names of the parts of a world; each is made whole or not at all."""

LABELLED: tuple[str, ...] = tuple(LAYOUTS)
"""The parts that `make_world` makes when it is not told which."""


@dataclass(frozen=True, kw_only=True)
class VideoFormat:
    """A container and how its stream is encoded."""

    container: str  # FFmpeg's name of the muxer
    codec: str
    options: Mapping[str, str] = field(default_factory=dict)
    gop: int  # frames from one key frame to the next, at most
    b_frames: int = 0


FORMATS: Mapping[str, VideoFormat] = {
    ".webm": VideoFormat(
        container="webm",
        codec="libvpx-vp9",
        options={"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "24", "b": "0"},
        gop=24,
    ),
    ".mp4": VideoFormat(
        container="mp4",
        codec="libx264",
        # x264's tree of macroblocks reads past frames of a few blocks: the same clip would get other bytes each time.
        options={"preset": "veryfast", "crf": "20", "x264-params": "mbtree=0"},
        gop=24,
        b_frames=2,
    ),
    ".avi": VideoFormat(
        container="avi", codec="mpeg4", options={"qscale": "4", "flags": "+qscale"}, gop=12, b_frames=2
    ),
}
"""By suffix: VP9 as Something-Something, h264 with B-frames as Kinetics, MPEG-4 with B-frames and several groups of
pictures as UCF-101 and HMDB-51."""


def folder(part: str) -> str:
    """The folder of `part` in the world's tree; parts of one data set share it."""
    return "yt_temporal" if part in _NARRATED else LAYOUTS[part].folder


def class_names(part: str) -> tuple[str, ...]:
    """Classes of a labelled part, none for a narrated one."""
    return () if part in _NARRATED else tuple(kind.name for kind in LAYOUTS[part].classes)


def items(world: World, part: str) -> Sequence[ScriptedClip | NarratedVideo]:
    """What `part` consists of, in order."""
    return narration.narrated_videos(world, _NARRATED[part]) if part in _NARRATED else LAYOUTS[part].clips(world)


def lists(world: World, part: str) -> dict[str, str]:
    """Relative path -> text of the lists of `part`."""
    if part in _NARRATED:
        return narration.lists(_NARRATED[part], narration.narrated_videos(world, _NARRATED[part]))
    return LAYOUTS[part].lists(world, LAYOUTS[part].clips(world))


def produce(world: World, item: ScriptedClip | NarratedVideo) -> tuple[NDArray[np.uint8], dict[str, bytes]]:
    """Render and encode one item; a narrated one comes with its transcript.

    Args:
        world: whose it is.
        item: of `items`.

    Returns:
        Its frames, uint8 RGB [T, H, W, 3]; and its files: path relative to the part's folder -> content.
    """
    texts = {}
    if isinstance(item, NarratedVideo):
        story = narration.tell(world, item)
        frames, texts = story.frames(), {item.annotation: json.dumps(narration.annotation(story)).encode()}
    else:
        frames = take(world, item).frames()
    return frames, {item.path: encode(frames, world.fps, Path(item.path).suffix), **texts}


def encode(frames: NDArray[np.uint8], fps: int, suffix: str) -> bytes:
    """The bytes of a video file.

    Args:
        frames: uint8 RGB [T, H, W, 3] with even H and W.
        fps: frames a second.
        suffix: a key of FORMATS.
    """
    form = FORMATS[suffix]
    file = io.BytesIO()
    with av.open(file, "w", format=form.container, options={"fflags": "+bitexact"}) as container:
        stream = cast(VideoStream, container.add_stream(form.codec, rate=fps, options=dict(form.options)))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1  # frames this small are encoded slower by many threads
        stream.codec_context.gop_size = form.gop
        stream.codec_context.max_b_frames = form.b_frames
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def frame_digest(path: str, frames: NDArray[np.uint8]) -> str:
    """sha256 (hex) over an item's name, shape and frames."""
    state = hashlib.sha256(f"{path}\0{frames.shape}\0".encode())
    state.update(np.ascontiguousarray(frames).data)
    return state.hexdigest()
