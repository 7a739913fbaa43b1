"""The encoder of each family as features are extracted with it, against the same network called directly.

    python benchmarks/families.py                                      the default size of all, minutes on two cores
    python benchmarks/families.py --size tiny videomae umt             some, at toy size
    python benchmarks/families.py --threads 1                          processor time of one thread: for a busy machine
    python benchmarks/families.py --device cuda --batch 16 --precision bf16

Weights are random and of no matter. Both take turns; each round gives one ratio, and the median of the ratios is shown
with the quartiles. A family is added as one line of `PEERS` in peers/families.py.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from peers.families import PEERS, Forward
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tvts_bench.backbones.loading import load_backbone


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How all families are measured."""

    size: str  # "default" or a variant: "tiny"
    device: str
    batch: int  # clips a pass
    rounds: int
    precision: str  # "fp32" or "bf16"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one family gave."""

    name: str
    peer: str
    ours: float  # seconds a clip, median
    theirs: float
    ratios: tuple[float, ...]  # seconds of ours / seconds of the peer, a round each


def measured(family: str, setting: Setting) -> Row:
    """Both in turns, the first one changing from round to round, after one warm-up each."""
    variant = "" if setting.size == "default" else f":{setting.size}"
    backbone = load_backbone(f"{family}{variant}").to(setting.device)
    spec = backbone.clip_spec
    shape = (setting.batch, 3, spec.num_frames, spec.crop, spec.crop)
    clips = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(setting.device)
    name, make = PEERS[family]
    runs: list[Forward] = [backbone, make(backbone)]
    seconds = np.zeros((setting.rounds, 2))
    bf16 = setting.precision == "bf16"
    cast = torch.autocast(torch.device(setting.device).type, torch.bfloat16) if bf16 else nullcontext()
    with torch.inference_mode(), cast:
        for run in runs:
            run(clips)
        for turn in range(setting.rounds):
            for which in (turn % 2, 1 - turn % 2):
                seconds[turn, which] = _timed(runs[which], clips)
    ours, theirs = np.median(seconds, axis=0) / setting.batch
    ratios = tuple((seconds[:, 0] / seconds[:, 1]).tolist())
    return Row(name=f"{family}:{backbone.variant}", peer=name, ours=float(ours), theirs=float(theirs), ratios=ratios)


def report(rows: Iterator[Row], setting: Setting) -> Table:
    """A line a family."""
    table = Table(title=f"{setting.device}, {setting.precision}, batch {setting.batch}, {setting.rounds} rounds")
    for column in ("backbone", "called directly", "directly, s/clip", "ours, s/clip", "ours / directly", "quartiles"):
        table.add_column(column, justify="left" if column in ("backbone", "called directly") else "right")
    for row in rows:
        low, middle, high = np.percentile(row.ratios, (25, 50, 75))
        times = (f"{row.theirs:.4f}", f"{row.ours:.4f}")
        table.add_row(row.name, row.peer, *times, f"{middle:.3f}", f"{low:.3f} to {high:.3f}")
    return table


def _timed(run: Forward, clips: Tensor) -> float:
    """Seconds of one call, finished on the device; processor seconds if there is only one thread."""
    on_gpu = clips.device.type == "cuda"
    clock = time.process_time if torch.get_num_threads() == 1 and not on_gpu else time.perf_counter
    start = clock()
    run(clips)
    if on_gpu:
        torch.cuda.synchronize(clips.device)
    return clock() - start


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help=f"all unless named: {', '.join(PEERS)}")
    parser.add_argument("--size", default="default", help="the variant of all; default: each family's own default")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=1, help="clips a pass")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="1: count processor time")
    options = parser.parse_args()
    unknown = set(options.families) - set(PEERS)
    if unknown:
        parser.error(f"no comparison for {', '.join(sorted(unknown))}; there are: {', '.join(PEERS)}")
    torch.set_num_threads(options.threads)
    setting = Setting(
        size=options.size,
        device=options.device,
        batch=options.batch,
        rounds=options.rounds,
        precision=options.precision,
    )
    rows = (measured(family, setting) for family in options.families or PEERS)
    Console(width=120).print(report(rows, setting))


if __name__ == "__main__":
    main()
