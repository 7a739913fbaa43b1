"""The videos behind a result: where they lie on this machine, and small strips of their frames.

A strip holds frames side by side in one picture, that the page plays by moving it. It can be paused, which an animated
GIF or WebP cannot: people who ask for less motion see its first frame.
"""

import base64
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tvts_bench import registry
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.errors import UserError
from tvts_bench.results import Result
from tvts_bench.runtime import default_cache
from tvts_bench.snapshot import is_unchanged
from tvts_bench.tables.base import EMBEDDED
from tvts_bench.video.packet_index import VideoDecodeError
from tvts_bench.video.reader import decode_frames
from tvts_bench.video.sampling import segment_indices

WORLDS = "scripted-motion"  # folder of built-in synthetic sets in the cache
FRAMES, SIDE = 8, 96  # of a strip; pixels of the longer side of a frame, which is never enlarged beyond its own
QUALITY = 50  # of WebP
BYTES = 8 * 2**20  # of all strips of a page; more are not made


@dataclass(frozen=True, kw_only=True, eq=False)
class Videos:
    """The clips of a result's splits."""

    paths: Mapping[str, Path] = field(default_factory=dict)  # id -> file, which need not be there
    classes: tuple[str, ...] = ()
    problem: str | None = None  # why there are none, one sentence

    def class_name(self, label: int) -> str:
        """Its name, or its number where no list is there."""
        return self.classes[label] if 0 <= label < len(self.classes) else f"class {label}"


def find_videos(result: Result, roots: Mapping[str, Path]) -> Videos:
    """The videos of `result`, from where it was measured or from `roots` (data set -> folder).

    Nothing is made or downloaded for it. Lists that are not those of the result, by fingerprint, are not taken.
    """
    full = str(result.run.dataset["name"])
    base = next((name for name in registry.names("datasets") if full == name or full.startswith(f"{name}-")), None)
    if base is None:
        return Videos(problem=f"this version knows no data set {full}")
    rest = re.fullmatch(r"(?:-(?P<variant>[a-z0-9]+?))??(?:-fold(?P<fold>\d))?", full.removeprefix(base))
    root = roots.get(base) or _recorded(result, base)
    if rest is None or root is None:
        return Videos(problem=f"the result does not say where {full} lies: give --data {base}=DIR")
    name = base if rest["variant"] is None else f"{base}:{rest['variant']}"
    try:
        dataset = load_dataset(name, root, fold=int(rest["fold"] or 1))
        return _of(dataset, result)
    except (UserError, OSError) as error:
        return Videos(problem=f"its videos are not on this machine: {error}; --data {base}=DIR says where they are")


def _of(dataset: Dataset, result: Result) -> Videos:
    paths: dict[str, Path] = {}
    for item in result.coverage:
        if dataset.fingerprint(item.split) != item.fingerprint:
            return Videos(
                problem=f"the lists of {dataset.name} {item.split} under {dataset.root} are not those of the result"
                f" (fingerprint {item.fingerprint[:12]})"
            )
        if item.files is not None and not is_unchanged(item.files, dataset.files(item.split)):
            return Videos(problem=f"the videos of {dataset.name} {item.split} under {dataset.root} changed since")
        paths |= {_readable(record.id): record.path for record in dataset.records(item.split)}
    return Videos(paths=paths, classes=dataset.class_names)


def _readable(name: str) -> str:
    """An id as the files of results write it: what is not UTF-8 on disk with escapes."""
    return name.encode(errors="backslashreplace").decode()


def _recorded(result: Result, base: str) -> Path | None:
    """Where the result was measured; the built-in synthetic set may lie in this machine's cache instead."""
    recorded = result.provenance.get("root")
    if not isinstance(recorded, str):
        return None
    root = Path(recorded)
    if base != EMBEDDED:
        return root
    world = root.parent  # its parts lie in folders named like the data sets they look like
    return world if world.is_dir() else default_cache() / WORLDS / world.name


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
        """No strips yet; `limit` is of all together, in bytes."""
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
    from PIL import Image

    frames = decode_frames(path, lambda count: segment_indices(count, FRAMES), "pyav").frames  # [T, H, W, 3]
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
