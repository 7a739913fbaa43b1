"""`tvts-bench finetune`: train the backbone with a linear head, and test it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvts_bench.cli import option_groups, options, recipes
from tvts_bench.cli.probe import AllowSharedClips, TrainSplit
from tvts_bench.errors import UserError

if TYPE_CHECKING:
    from tvts_bench.backbones.base import Backbone
    from tvts_bench.datasets.base import Dataset
    from tvts_bench.evaluators.base import Evaluator
    from tvts_bench.results import Result
    from tvts_bench.runtime import Runtime

ALL_FOLDS, FOLDS = "all", (1, 2, 3)  # --split all: the mean of the three
WITH_FOLDS = ("ucf101", "hmdb51")

FoldOrAll = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Split to measure; by default the one that the data set's papers report. `all` for UCF-101 and HMDB-51:"
        " each of the three official splits (--fold), and their mean.",
        rich_help_panel=options.DATA,
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class FineTuning(recipes.RecipeOptions):
    """What only training the backbone has beside them."""

    warmup_epochs: recipes.WarmupEpochs = None
    accumulate: recipes.Accumulate = None
    layer_decay: recipes.LayerDecay = None
    drop_path: recipes.DropPath = None
    ema: recipes.Ema = None
    clip_grad: recipes.ClipGrad = None


AS_THE_PRESET = FineTuning()


def finetune(
    weights: option_groups.Weights = option_groups.WEIGHTS,
    dataset: options.DatasetName = None,
    root: options.Root = None,
    annotations: options.Annotations = None,
    fold: options.Fold = 1,
    split: FoldOrAll = None,
    train_split: TrainSplit = "train",
    allow_shared_clips: AllowSharedClips = False,
    strict: options.Strict = False,
    asked: FineTuning = AS_THE_PRESET,
    seed: recipes.Seed = 0,
    resume: recipes.Resume = False,
    sampling: recipes.Sampling = None,
    clip: option_groups.Clip = option_groups.CLIP,
    decoder: options.Decoder = "decord",
    machine: option_groups.Machine = option_groups.MACHINE,
    out: options.Out = Path("results"),
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Fine-tuning: the backbone and a linear head, trained on augmented clips and tested on several views of each.

    Without options it fine-tunes a small backbone on the embedded world. States and curves lie in a folder of the
    training's own under --out. Several GPUs: torchrun --nproc-per-node 8 -m tvts_bench finetune ...

    tvts-bench finetune --ckpt TVTS_yt_pt.pth --dataset ssv2 --root DIR --accumulate 16

    tvts-bench finetune --ckpt x.pth --dataset hmdb51 --root DIR --split all

    tvts-bench finetune --ckpt x.pth --dataset ssv2 --root DIR --habit paper --resume
    """
    from tvts_bench.cli import setup
    from tvts_bench.cli.classification import report
    from tvts_bench.evaluators.finetune import Finetune
    from tvts_bench.results import require_writable

    changes = recipes.RecipeChanges(
        preset=asked.recipe,
        habits=tuple(asked.habit or ()),
        fields={**asked.fields, "seed": seed, "views": clip.views},
        sampling=sampling,
        stride=clip.stride,
        dtype=machine.dtype,
    )
    local = setup.make_runtime(machine, strict)
    model = setup.make_backbone(weights)
    folds = _folds(dataset, split, fold)
    data = [setup.make_dataset(dataset, root, annotations, each, machine.cache) for each in folds]
    protocol = Finetune(
        recipe=changes.recipe("finetune", data[0].name, local.device),
        train_split=train_split,
        split=None if len(data) > 1 else split,
        clip=setup.ClipChanges(**vars(clip)).beside_a_recipe().applied_to(model.clip_spec),
        allow_shared_clips=allow_shared_clips,
        decoder=decoder,
    )
    require_writable(out)
    local = replace(local, out=out, resume=resume)

    def show(result: "Result", is_part: bool) -> None:
        report(result, "Fine-tuning", out, as_json, is_part=is_part)

    _measure(model, data, protocol, local, show)


def _measure(
    backbone: "Backbone",
    folds: "Sequence[Dataset]",
    evaluator: "Evaluator",
    runtime: "Runtime",
    show: "Callable[[Result, bool], None]",
) -> None:
    """Measure on each fold, as one rank of many under torchrun, and show every result, of several also their mean.

    `show` is told whether a result is part of that mean.
    """
    from tvts_bench.distributed import distributed_runtime
    from tvts_bench.evaluation import evaluate
    from tvts_bench.results.official_splits import mean_of_folds

    results = []
    with distributed_runtime(runtime) as own:
        for dataset in folds:
            results.append(evaluate(backbone, dataset, evaluator, own))
            if own.rank == 0:
                show(results[-1], len(folds) > 1)
    if own.rank == 0 and len(results) > 1:
        show(mean_of_folds(results), False)


def _folds(dataset: str | None, split: str | None, fold: int) -> tuple[int, ...]:
    """Numbers of the official splits to measure."""
    if split != ALL_FOLDS or not _has_folds(dataset):
        return (fold,)
    if fold != 1:
        raise UserError(f"--split all is all official splits, --fold {fold} one of them: leave one of the two out")
    return FOLDS


def _has_folds(dataset: str | None) -> bool:
    """Whether the data set of that name on the command line has official splits by number."""
    return dataset is not None and dataset.rpartition(":")[2] in WITH_FOLDS
