"""From options to the objects a run needs. Imported inside commands: it brings torch."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from tvts_bench import runtime as runtimes
from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.cli.option_groups import Machine, Weights
from tvts_bench.cli.progress import progress_bar
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.devices import resolve_device
from tvts_bench.distributed import distributed_runtime
from tvts_bench.errors import UserError
from tvts_bench.evaluation import evaluate
from tvts_bench.evaluators.base import Evaluator
from tvts_bench.features.processes import warm_up
from tvts_bench.results import Result
from tvts_bench.runtime import Runtime
from tvts_bench.video.spec import ClipSpec

EMBEDDED_DATASET = "scripted_motion"
EMBEDDED_BACKBONE = "tvts:scripted_motion_tiny"  # trained for the embedded world
SAMPLINGS = {
    "center": {"sampling": "segments", "position": "center"},
    "random": {"sampling": "segments", "position": "random"},
    "dense": {"sampling": "dense", "position": "center"},
    "endpoints": {"sampling": "endpoints", "position": "center"},
}


def make_runtime(machine: Machine, strict: bool = False) -> Runtime:
    """Where and how fast to run; `None` is what suits this machine. Decoding processes begin to start meanwhile."""
    if machine.workers != 0:
        warm_up()
    return Runtime(
        device=resolve_device(machine.device),
        workers=runtimes.default_workers() if machine.workers is None else machine.workers,
        batch_size=machine.batch_size,
        clip_timeout=machine.clip_timeout,
        cache=machine.cache or runtimes.default_cache(),
        progress=progress_bar,
        strict=strict,
    )


def make_backbone(weights: Weights) -> Backbone:
    """The backbone asked for, or the embedded default when nothing was asked for.

    Modules of one's own (`--backbone my_module:build`) are found in the current folder, as by `python -m`.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    name = weights.backbone if weights.backbone or weights.ckpt else EMBEDDED_BACKBONE
    return load_backbone(name, weights.ckpt, seed=weights.init_seed, weights=weights.weights)


def make_dataset(
    name: str | None, root: Path | None, annotations: Path | None, fold: int, cache: Path | None
) -> Dataset:
    """The data set asked for, or the embedded world, made on first use."""
    if name is None and root is not None:
        raise UserError(
            f"--root {root} needs --dataset NAME: `tvts-bench datasets` lists them; `folder` is class/video"
        )
    return load_dataset(
        name or EMBEDDED_DATASET, root, annotations=annotations, fold=fold, cache=cache, progress=progress_bar
    )


@dataclass(frozen=True, kw_only=True)
class ClipChanges:
    """What the options change of a backbone's own clip; `None` changes nothing."""

    sampling: str | None = None
    frames: int | None = None
    stride: int | None = None
    views: str | None = None
    seed: int | None = None
    short_side: int | None = None
    crop: int | None = None
    resize: str | None = None
    interpolation: str | None = None
    mean: str | None = None
    std: str | None = None

    def applied_to(self, clip: ClipSpec) -> ClipSpec:
        """The clip to measure with.

        Raises:
            UserError: an option has a value that makes no sense, alone or with the others.
        """
        if self.sampling is not None and self.sampling not in SAMPLINGS:
            raise UserError(f"--sampling must be one of {', '.join(SAMPLINGS)}, got {self.sampling!r}")
        asked = {"seed": self.seed, "num_frames": self.frames, "stride": self.stride}
        asked |= {name: getattr(self, name) for name in ("short_side", "crop", "resize", "interpolation")}
        changes: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        changes |= SAMPLINGS[self.sampling] if self.sampling else {}
        changes |= _colours("--mean", "mean", self.mean) | _colours("--std", "std", self.std)
        if self.views is not None:
            temporal, _, spatial = self.views.partition("x")
            if not (temporal.isdecimal() and spatial.isdecimal()):
                raise UserError(f"--views must be TEMPORALxSPATIAL such as 1x1 or 2x3, got {self.views!r}")
            changes |= {"temporal_views": int(temporal), "spatial_views": int(spatial)}
        changed = replace(clip, **changes)
        if self.stride is not None and changed.sampling != "dense":
            raise UserError(f"--stride {self.stride} is the distance of dense frames: add --sampling dense")
        return changed

    def beside_a_recipe(self) -> Self:
        """What is left to say where a recipe chooses frames and views: how many frames, and their pixels."""
        return replace(self, sampling=None, stride=None, views=None, seed=None)


def _colours(option: str, name: str, text: str | None) -> dict[str, tuple[float, ...]]:
    """The numbers for red, green and blue; one stands for all three."""
    if text is None:
        return {}
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
        raise UserError(f"{option} must be one number or three, such as 0.485,0.456,0.406, got {text!r}")
    return {name: values * 3 if len(values) == 1 else values}


def measure(
    backbone: Backbone, dataset: Dataset, evaluator: Evaluator, runtime: Runtime, report: Callable[[Result], None]
) -> None:
    """Evaluate, as one rank of many under torchrun, and hand the result to `report` once."""
    with distributed_runtime(runtime) as own:
        result = evaluate(backbone, dataset, evaluator, own)
    if own.rank == 0:
        report(result)
