"""A small world for the tests of extraction: real video files, a quick backbone, paths that misbehave in a worker."""

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path, PosixPath

import av
import numpy as np
import torch
from torch import Tensor

from tvts_bench.backbones.base import Backbone, WeightSource
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.features.base import Dtype, Features
from tvts_bench.features.extraction import extract
from tvts_bench.runtime import Runtime
from tvts_bench.video.spec import ClipSpec

SPEC = ClipSpec(num_frames=4, short_side=32, crop=32)


def write_video(path: Path, seed: int, *, frames: int = 8, size: int = 32) -> Path:
    """An mp4 of noise that moves sideways; another seed, another file."""
    picture = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, index, axis=1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_records(folder: Path, count: int, files: int = 5) -> tuple[VideoRecord, ...]:
    """`count` records over a few files: video 0, 1, ... and again from 0."""
    paths = [folder / f"{index}.mp4" for index in range(min(files, count))]
    if not folder.exists():
        folder.mkdir()
        for index, path in enumerate(paths):
            write_video(path, index)
    return tuple(
        VideoRecord(id=f"v{index:03d}", path=paths[index % len(paths)], label=index % 3, group=f"g{index % 2}")
        for index in range(count)
    )


class Linear(Backbone):
    """A random projection of all pixels: a vector depends on every pixel, and a little on the batch it is in."""

    family, variant, embed_dim, clip_spec = "linear", "toy", 8, SPEC

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__()
        weight = torch.randn(self.embed_dim, 3 * 4 * 32 * 32, generator=torch.Generator().manual_seed(0))
        self.weight = torch.nn.Parameter(weight / 64)
        self.weights = WeightSource(name="toy", sha256="0" * 64)
        self.delay = delay  # seconds a forward pass takes at least
        self.clips = 0  # embedded so far

    def forward(self, clips: Tensor) -> Tensor:
        time.sleep(self.delay)
        self.clips += len(clips)
        return torch.nn.functional.linear(clips.flatten(1), self.weight)


class Unusable(Linear):
    """Fails as soon as it is used."""

    def forward(self, clips: Tensor) -> Tensor:
        raise AssertionError("nothing was to be computed")


def run(
    backbone: Backbone,
    records: Sequence[VideoRecord],
    runtime: Runtime,
    *,
    clip: ClipSpec = SPEC,
    dtype: Dtype = "fp32",
) -> Features:
    """`extract` of one backbone, with what the tests never vary."""
    return extract([backbone], records, "fingerprint", clip=clip, decoder="pyav", dtype=dtype, runtime=runtime)[0]


def run_slowly(records: Sequence[VideoRecord], runtime: Runtime) -> None:
    """The target of processes that are killed: slow enough to be hit anywhere."""
    run(Linear(delay=0.02), records, runtime)


def stored_files(cache: Path) -> dict[str, bytes]:
    """Every shard under a cache folder by name."""
    return {path.name: path.read_bytes() for path in sorted(cache.glob("features/*/*.safetensors"))}


class HangingPath(PosixPath):
    """A file whose disk never answers, in worker processes only."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        while multiprocessing.parent_process() is not None:
            time.sleep(1)
        return os.stat(os.fspath(self), follow_symlinks=follow_symlinks)  # noqa: PTH116 - what Path.stat does


class CrashingPath(PosixPath):
    """A file that brings its decoder down, in worker processes only."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        if multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGSEGV)
        return os.stat(os.fspath(self), follow_symlinks=follow_symlinks)  # noqa: PTH116 - what Path.stat does
