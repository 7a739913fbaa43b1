"""From options to the objects a run needs. Imported inside commands: it brings torch."""

import os
from pathlib import Path
from typing import Literal, cast

from tvts_bench import runtime as runtimes
from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.cli.progress import progress_bar
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.devices import resolve_device
from tvts_bench.errors import UserError
from tvts_bench.features.processes import warm_up
from tvts_bench.runtime import Runtime
from tvts_bench.video.spec import ClipSpec

EMBEDDED_DATASET = "scripted_motion"
EMBEDDED_BACKBONE = "tvts:tiny"  # fits the embedded world's small frames
SAMPLINGS = ("center", "random", "dense")


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
        workers=(os.cpu_count() or 1) if workers is None else workers,
        batch_size=batch_size,
        clip_timeout=clip_timeout,
        cache=cache or runtimes.default_cache(),
        progress=progress_bar,
        strict=strict,
    )


def make_backbone(name: str | None, checkpoint: Path | None, seed: int) -> Backbone:
    """The backbone asked for, or the embedded default when nothing was asked for."""
    return load_backbone(name if name or checkpoint else EMBEDDED_BACKBONE, checkpoint, seed=seed)


def make_dataset(name: str | None, root: Path | None, annotations: Path | None, fold: int) -> Dataset:
    """The data set asked for, or the embedded world, made on first use."""
    if name is None and root is not None:
        raise UserError(
            f"--root {root} needs --dataset NAME: `tvts-bench datasets` lists them; `folder` is class/video"
        )
    return load_dataset(name or EMBEDDED_DATASET, root, annotations=annotations, fold=fold, progress=progress_bar)


def clip_changes(sampling: str, frames: int | None, stride: int | None, views: str, seed: int) -> dict[str, str | int]:
    """The fields of the backbone's own `ClipSpec` that the options override."""
    if sampling not in SAMPLINGS:
        raise UserError(f"--sampling must be one of {', '.join(SAMPLINGS)}, got {sampling!r}")
    temporal, _, spatial = views.partition("x")
    if not (temporal.isdecimal() and spatial.isdecimal()):
        raise UserError(f"--views must be TEMPORALxSPATIAL such as 1x1 or 2x3, got {views!r}")
    changes: dict[str, str | int] = {
        "sampling": "dense" if sampling == "dense" else "segments",
        "position": "random" if sampling == "random" else "center",
        "temporal_views": int(temporal),
        "spatial_views": cast(Literal[1, 3], int(spatial)),
        "seed": seed,
    }
    if frames is not None:
        changes["num_frames"] = frames
    if stride is not None:
        changes["stride"] = stride
    return changes


def changed_clip(clip: ClipSpec, changes: dict[str, str | int]) -> ClipSpec:
    """`clip` with `changes`, refused with the offending value where they make no sense."""
    from dataclasses import replace

    return replace(clip, **changes)  # type: ignore[arg-type]
