"""What it costs extraction to hash every file that it decodes. One command:

    python benchmarks/hashing.py

Decodes its own H.264 clip (2.5 s, 480 x 360), as it is and padded to larger files, with and without hashing in turn: in
this process (processor time) and by worker processes (wall time). The least of all rounds, and the ratio of the two.
"""

import argparse
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch
from clip_loading import write_clip
from rich.console import Console
from rich.table import Table

from tvts_bench.datasets.base import VideoRecord
from tvts_bench.features.decoding import Decoded, Decoding, decode, load_clips
from tvts_bench.video.spec import ClipSpec

MEGABYTES = (0.1, 1.0, 5.0)  # SSV2's clips have about 0.1 each, Kinetics' 1 to 2
DECODING = Decoding(clip=ClipSpec(), decoder="decord", workers=0, timeout=120.0)


def main() -> None:
    """One table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("file", "read by", "without, ms a clip", "hashed, ms a clip", "ratio", title="Decoding and hashing")
    with tempfile.TemporaryDirectory() as folder:
        for megabytes in MEGABYTES:
            record = VideoRecord(id="clip", path=padded_clip(Path(folder), megabytes), label=0)
            for reader, workers in (("this process", 0), (f"{arguments.workers} workers", arguments.workers)):
                least = {False: float("inf"), True: float("inf")}
                for number in range(arguments.rounds):
                    for hashed in sorted(least, reverse=number % 2 == 1):  # neither is always the first
                        spent = seconds(record, replace(DECODING, workers=workers, hashed=hashed))
                        least[hashed] = min(least[hashed], spent)
                numbers = (
                    f"{1000 * least[False]:.2f}",
                    f"{1000 * least[True]:.2f}",
                    f"{least[True] / least[False]:.3f}",
                )
                table.add_row(f"{megabytes} MB", reader, *numbers)
    Console().print(table)


def padded_clip(folder: Path, megabytes: float) -> Path:
    """A clip in a file of that size at least: what is added is a box that every reader of MP4 skips."""
    path = write_clip(folder / f"{megabytes}.mp4", 75)
    padding = max(8, round(megabytes * 1e6) - path.stat().st_size)
    with path.open("ab") as file:
        file.write(padding.to_bytes(4, "big") + b"free" + bytes(padding - 8))
    return path


def seconds(record: VideoRecord, decoding: Decoding) -> float:
    """Seconds a clip: of this process's processors without workers, else of the clock once the first clip is there."""
    if decoding.workers == 0:
        start = time.process_time()
        assert isinstance(decode(record, decoding), Decoded)
        return time.process_time() - start
    with closing(load_clips([record] * 48, decoding)) as clips:
        next(clips)
        start = time.perf_counter()
        count = sum(isinstance(clip, Decoded) for clip in clips)
    return (time.perf_counter() - start) / count


if __name__ == "__main__":
    main()
