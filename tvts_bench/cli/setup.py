"""From options to the objects a run needs. Imported inside commands: it brings torch."""

import sys
from collections.abc import Callable
from pathlib import Path

from tvts_bench import runtime as runtimes
from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.cli.console import progress_bar
from tvts_bench.cli.options import ClipOptions, Machine, Weights
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.devices import resolve_device
from tvts_bench.distributed import distributed_runtime
from tvts_bench.errors import UserError
from tvts_bench.evaluation import evaluate
from tvts_bench.evaluators.base import Evaluator
from tvts_bench.processes import warm_up
from tvts_bench.results import Result
from tvts_bench.runtime import Runtime
from tvts_bench.video.spec import changed_clip

BUILT_IN_DATASET = "scripted_motion"
BUILT_IN_BACKBONE = "tvts:scripted_motion_tiny"  # trained on it


def make_runtime(machine: Machine, strict: bool = False) -> Runtime:
    """Where and how fast to run; what is left out suits this machine. Decoding processes begin to start meanwhile."""
    given = {"workers": runtimes.default_workers(), **machine.runtime}
    if given["workers"] != 0:
        warm_up()
    device = resolve_device(given.pop("device"))
    return Runtime(device=device, progress=progress_bar, strict=strict, **given)


def make_backbone(weights: Weights, clip: ClipOptions | None = None) -> Backbone:
    """The backbone of these options, or the built-in one where none is named; with `clip` it takes that input.

    Modules of one's own (`--backbone my_module:build`) are imported from the current folder, too, as by `python -m`.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    name = weights.backbone if weights.backbone or weights.ckpt else BUILT_IN_BACKBONE
    backbone = load_backbone(name, weights.ckpt, seed=weights.init_seed, weights=weights.weights)
    if clip is not None:
        backbone.clip_spec = changed_clip(backbone.clip_spec, **clip.changes)
    return backbone


def make_dataset(
    name: str | None, root: Path | None, annotations: Path | None, fold: int, cache: Path | None
) -> Dataset:
    """The data set of that name, or the built-in synthetic one, which is made on first use.

    Args:
        name: As `tvts-bench datasets` lists it.
        root: Its folder.
        annotations: Lists in place of those in it.
        fold: Official split, 1 to 3.
        cache: Where the built-in one is made; None: the user's cache folder.

    Raises:
        UserError: A root without a name, or what the data set refuses.
    """
    if name is None and root is not None:
        raise UserError(
            f"--root {root} needs --dataset NAME: `tvts-bench datasets` lists them; `folder` is class/video"
        )
    return load_dataset(
        name or BUILT_IN_DATASET, root, annotations=annotations, fold=fold, cache=cache, progress=progress_bar
    )


def measure(
    backbone: Backbone, dataset: Dataset, evaluator: Evaluator, runtime: Runtime, report: Callable[[Result], None]
) -> None:
    """Evaluate, as one rank of many under torchrun, and hand the result to `report` once.

    Args:
        backbone: What is measured.
        dataset: On what.
        evaluator: How.
        runtime: Where.
        report: Shows the result.
    """
    with distributed_runtime(runtime) as own:
        result = evaluate(backbone, dataset, evaluator, own)
    if own.rank == 0:
        report(result)
