"""File to tensor: CPU time of a clip against the decoder alone and against the usual pipeline. One command:

    python benchmarks/clip_loading.py

Writes its own H.264 clips of 480 x 360 (2.5 and 10 seconds), reads 16 frames of each in six ways in turn, single
threaded, and prints the least CPU time of the process and its ratio to decord alone.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import decord
import numpy as np
import torch
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tvts_bench.video.clips import load_clip
from tvts_bench.video.sampling import segment_indices
from tvts_bench.video.spec import ClipSpec
from tvts_bench.video.transforms import normalise

SPEC = ClipSpec()
WIDTH, HEIGHT, FPS = 480, 360, 30
SECONDS = (2.5, 10.0)
ROUNDS = 20


def main() -> None:
    """Write the clips, measure all ways in turn, print one table."""
    torch.set_num_threads(1)
    decord.logging.set_level(decord.logging.QUIET)
    table = Table("clip", "way", "CPU ms", "of decord alone", "clips/s a core", title="File to 16 x 224 x 224 pixels")
    with tempfile.TemporaryDirectory() as folder:
        for seconds in SECONDS:
            path = write_clip(Path(folder) / f"{seconds}.mp4", round(seconds * FPS))
            times = measure(path)
            for way, spent in times.items():
                milliseconds = 1000 * spent
                ratio = spent / times["decord alone"]
                table.add_row(f"{seconds} s", way, f"{milliseconds:.1f}", f"{ratio:.2f}", f"{1 / spent:.1f}")
            table.add_section()
    Console().print(table)


def write_clip(path: Path, num_frames: int) -> Path:
    """A panning, slightly noisy texture with a moving block: about what a web video costs to decode."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (24, 64, 3), dtype=np.uint8))
    ground = np.asarray(coarse.resize((2 * WIDTH, HEIGHT), Image.Resampling.BICUBIC), dtype=np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(num_frames):
            picture = np.roll(ground, -2 * i, axis=1)[:, :WIDTH] + rng.integers(-6, 7, (HEIGHT, WIDTH, 1))
            left = (5 * i) % (WIDTH - 80)
            picture[120:200, left : left + 80] = (200, 40, 40)
            frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def measure(path: Path) -> dict[str, float]:
    """CPU seconds of each way: the least of `ROUNDS` in turn, so that a busy machine troubles all alike and little."""
    ways: dict[str, Callable[[Path], object]] = {
        "decord alone": decord_alone,
        "PyAV alone, sequential": pyav_alone,
        "decord, then PIL and float per frame": usual_pipeline,
        "load_clip": lambda p: load_clip(p, "clip", SPEC).pixels,
        "load_clip and normalise": lambda p: normalise(load_clip(p, "clip", SPEC).pixels, SPEC.mean, SPEC.std),
        "load_clip with PyAV": lambda p: load_clip(p, "clip", SPEC, "pyav").pixels,
    }
    least = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for way, read in ways.items():
            start = time.process_time()
            read(path)
            least[way] = min(least[way], time.process_time() - start)
    return least


def decord_alone(path: Path) -> NDArray[np.uint8]:
    """The frames [16, H, W, 3] and nothing else."""
    reader = decord.VideoReader(str(path), num_threads=1)
    frames: NDArray[np.uint8] = reader.get_batch(segment_indices(len(reader), SPEC.num_frames)).asnumpy()
    return frames


def pyav_alone(path: Path) -> NDArray[np.uint8]:
    """The same frames, decoded from the start; only those wanted are converted."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        wanted = set(segment_indices(stream.frames, SPEC.num_frames).tolist())
        frames = [f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(stream)) if i in wanted]
    return np.stack(frames)


def usual_pipeline(path: Path) -> Tensor:
    """decord, then resize, crop and normalisation frame by frame, as most video repositories do it."""
    mean, std = torch.tensor(SPEC.mean).view(3, 1, 1), torch.tensor(SPEC.std).view(3, 1, 1)
    frames = []
    for array in decord_alone(path):
        image = Image.fromarray(array)
        width = SPEC.short_side * image.width // image.height
        left = (width - SPEC.crop) // 2
        image = image.resize((width, SPEC.short_side), Image.Resampling.BILINEAR)
        image = image.crop((left, 0, left + SPEC.crop, SPEC.crop))
        frames.append((torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255 - mean) / std)
    return torch.stack(frames, dim=1)


if __name__ == "__main__":
    main()
