"""From options to the objects a run needs. Imported inside commands: it brings torch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tvts_bench import runtime as runtimes
from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.cli.progress import progress_bar
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.devices import distributed_runtime, resolve_device
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
}


def make_runtime(
    device: str,
    workers: int | None,
    batch_size: int,
    clip_timeout: float,
    cache: Path | None,
    strict: bool = False,
) -> Runtime:
    """Where and how fast to run; `None` is what suits this machine. Decoding processes begin to start meanwhile."""
    if workers != 0:
        warm_up()
    return Runtime(
        device=resolve_device(device),
        workers=runtimes.default_workers() if workers is None else workers,
        batch_size=batch_size,
        clip_timeout=clip_timeout,
        cache=cache or runtimes.default_cache(),
        progress=progress_bar,
        strict=strict,
    )


def make_backbone(name: str | None, checkpoint: Path | None, seed: int) -> Backbone:
    """The backbone asked for, or the embedded default when nothing was asked for."""
    return load_backbone(name if name or checkpoint else EMBEDDED_BACKBONE, checkpoint, seed=seed)


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

    sampling: str | None
    frames: int | None
    stride: int | None
    views: str | None
    seed: int

    def applied_to(self, clip: ClipSpec) -> ClipSpec:
        """The clip to measure with.

        Raises:
            UserError: an option has a value that makes no sense, alone or with the others.
        """
        if self.sampling is not None and self.sampling not in SAMPLINGS:
            raise UserError(f"--sampling must be one of {', '.join(SAMPLINGS)}, got {self.sampling!r}")
        changes: dict[str, Any] = {"seed": self.seed} | (SAMPLINGS[self.sampling] if self.sampling else {})
        if self.views is not None:
            temporal, _, spatial = self.views.partition("x")
            if not (temporal.isdecimal() and spatial.isdecimal()):
                raise UserError(f"--views must be TEMPORALxSPATIAL such as 1x1 or 2x3, got {self.views!r}")
            changes |= {"temporal_views": int(temporal), "spatial_views": int(spatial)}
        if self.frames is not None:
            changes["num_frames"] = self.frames
        if self.stride is not None:
            changes["stride"] = self.stride
        changed = replace(clip, **changes)
        if self.stride is not None and changed.sampling != "dense":
            raise UserError(f"--stride {self.stride} is the distance of dense frames: add --sampling dense")
        return changed


def measure(
    backbone: Backbone, dataset: Dataset, evaluator: Evaluator, runtime: Runtime, report: Callable[[Result], None]
) -> None:
    """Evaluate, as one rank of many under torchrun, and hand the result to `report` once."""
    with distributed_runtime(runtime) as own:
        result = evaluate(backbone, dataset, evaluator, own)
    if own.rank == 0:
        report(result)
