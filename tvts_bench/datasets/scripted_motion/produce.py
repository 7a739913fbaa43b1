"""From a part's name to files: what each part consists of, and the bytes of one of its items."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tvts_bench.datasets.scripted_motion import narration
from tvts_bench.datasets.scripted_motion.clips import Clip, take
from tvts_bench.datasets.scripted_motion.encode import encode
from tvts_bench.datasets.scripted_motion.layouts import LAYOUTS
from tvts_bench.datasets.scripted_motion.narration import Narrated
from tvts_bench.datasets.scripted_motion.world import World

_NARRATED = {"narrated-train": "train", "narrated-val": "val"}
NARRATED_FOLDER = "yt_temporal"

PARTS: tuple[str, ...] = (*LAYOUTS, *_NARRATED)
"""Names of the parts of a world; each is made whole or not at all."""

LABELLED: tuple[str, ...] = tuple(LAYOUTS)
"""The parts that `make_world` makes when it is not told which."""


@dataclass(frozen=True, kw_only=True)
class Produced:
    """One item, made."""

    path: str  # of its video, relative to the part's folder
    frames: int
    sha256: str  # over the path, the shape and the frames before encoding
    files: dict[str, bytes]  # relative path -> content


def folder(part: str) -> str:
    """The folder of `part` in the world's tree; parts of one data set share it."""
    return NARRATED_FOLDER if part in _NARRATED else LAYOUTS[part].folder


def class_names(part: str) -> tuple[str, ...]:
    """Classes of a labelled part, none for a narrated one."""
    return () if part in _NARRATED else tuple(kind.name for kind in LAYOUTS[part].classes)


def items(world: World, part: str) -> Sequence[Clip | Narrated]:
    """What `part` consists of, in order."""
    return narration.narrated_videos(world, _NARRATED[part]) if part in _NARRATED else LAYOUTS[part].clips(world)


def lists(world: World, part: str) -> dict[str, str]:
    """Relative path -> text of the lists of `part`."""
    if part in _NARRATED:
        return narration.lists(_NARRATED[part], narration.narrated_videos(world, _NARRATED[part]))
    return LAYOUTS[part].lists(world, LAYOUTS[part].clips(world))


def produce(world: World, item: Clip | Narrated) -> Produced:
    """Render and encode one item; a narrated one comes with its transcript."""
    if isinstance(item, Narrated):
        story = narration.tell(world, item)
        frames = story.frames()
        text = json.dumps(narration.annotation(story))
        files = {item.path: encode(frames, world.fps, ".mp4"), item.annotation: text.encode()}
    else:
        frames = take(world, item).frames()
        files = {item.path: encode(frames, world.fps, Path(item.path).suffix)}
    return Produced(path=item.path, frames=len(frames), sha256=frame_digest(item.path, frames), files=files)


def frame_digest(path: str, frames: NDArray[np.uint8]) -> str:
    """sha256 (hex) over an item's name, shape and frames."""
    state = hashlib.sha256(f"{path}\0{frames.shape}\0".encode())
    state.update(np.ascontiguousarray(frames).data)
    return state.hexdigest()
