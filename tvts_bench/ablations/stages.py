"""The commands of a cell, as data: how each is started, how it is taken up again, and what it must leave behind."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tvts_bench.ablations.cells import PRETRAIN
from tvts_bench.provenance import digest

RUN, BACKBONE, STATE = "run", "run/backbone.safetensors", "run/checkpoints/last.pt"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One command of a cell. Paths are relative to the cell's folder."""

    name: str
    protocol: str
    command: tuple[str, ...]
    produces: str  # pattern of the files that it must leave; while there are none it has not been run
    dataset: str | None = None
    needed: bool = False  # where it fails, the stages after it are not tried
    resumed: tuple[str, ...] = ()  # the command that goes on, once there is `state`
    state: str | None = None
    discard: str | None = None  # a folder that an attempt which left no `state` has made, to be removed


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One evaluation of every cell of a grid."""

    protocol: str  # a command of tvts-bench
    dataset: str  # as the grid names it
    root: str | None  # its folder; None: the embedded world's
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Unique to what is measured: with other options, or on other data, it is another stage."""
        return f"{self.protocol}-{self.dataset}-{digest([self.root, list(self.options)])[:8]}"


def pretraining(folder: Path, preset: str, assignments: Sequence[str], place: Sequence[str]) -> Stage:
    """`tvts-pretrain run`, or `resume` where it was stopped.

    Args:
        folder: of the cell.
        preset: of tvts-pretrain, or a YAML file.
        assignments: `key=value`, all that differs from the preset.
        place: `key=value`, where it runs: device, threads, workers.
    """
    program, run = (sys.executable, "-m", "pretrain"), str(folder / RUN)
    return Stage(
        name=PRETRAIN,
        protocol=PRETRAIN,
        command=(*program, "run", preset, *assignments, *place, f"out={run}"),
        resumed=(*program, "resume", run, *place),
        state=STATE,
        discard=RUN,
        produces=BACKBONE,
        needed=True,
    )


def measurement(folder: Path, measure: Measure, backbone: Sequence[str], seed: int, place: Sequence[str]) -> Stage:
    """A command of tvts-bench on the checkpoint of the cell, or on the `backbone` that its options name.

    Args:
        folder: of the cell.
        measure: what is measured.
        backbone: options that say which backbone.
        seed: of whatever the protocol draws.
        place: options that say where it runs.
    """
    embedded = ("--dataset", f"scripted_motion:{measure.dataset}")
    data = embedded if measure.root is None else ("--dataset", measure.dataset, "--root", measure.root)
    options = {
        "retrieval": _gallery(measure.dataset),
        "probe": ("--seed", str(seed)),
        "finetune": ("--seed", str(seed), "--resume"),
    }[measure.protocol]
    results = f"results/{measure.name}"
    program = (sys.executable, "-m", "tvts_bench", measure.protocol)
    return Stage(
        name=measure.name,
        protocol=measure.protocol,
        dataset=measure.dataset,
        command=(*program, *backbone, *data, *options, *measure.options, *place, "--out", str(folder / results)),
        produces=f"{results}/*.json",
    )


def _gallery(dataset: str) -> tuple[str, ...]:
    """Test clips query training clips where a test set holds near-duplicates of itself."""
    return ("--split", "test", "--gallery-split", "train") if dataset in ("ucf101", "hmdb51") else ()
