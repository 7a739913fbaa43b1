"""`tvts-bench probe`: how much of a class can be read from frozen features."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from tvts_bench.cli import option_groups, options, recipes

Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="cached: features extracted once, then every head from them. paper: the official online recipe.",
        rich_help_panel=options.PROTOCOL,
    ),
]
HeadNames = Annotated[
    list[str] | None,
    typer.Option(
        "--head",
        help="knn, logistic, linear, or attentive (over patch tokens; small data sets); repeat it. The first three by"
        " default.",
        rich_help_panel=options.PROTOCOL,
    ),
]
TrainSplit = Annotated[str, typer.Option("--train-split", help="Split to train on.", rich_help_panel=options.DATA)]
AllowSharedClips = Annotated[
    bool,
    typer.Option(
        "--allow-shared-clips",
        help="Test on clips that are trained on, too; the result says how many.",
        rich_help_panel=options.DATA,
    ),
]
Fraction = Annotated[
    float | None,
    typer.Option(
        "--fraction",
        help="Share of every class's training labels that is used: 0.01, 0.1. With --seeds for a spread.",
        rich_help_panel=options.PROTOCOL,
    ),
]
PerClass = Annotated[
    int | None,
    typer.Option("--per-class", help="Training clips of every class: 4, 16.", rich_help_panel=options.PROTOCOL),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        min=0,
        max=options.MAX_SEED,
        help="First seed of what is drawn: labels kept, the held-out part, the order of clips.",
        rich_help_panel=options.PROTOCOL,
    ),
]
Seeds = Annotated[
    int,
    typer.Option(
        "--seeds", min=1, help="Number of seeds: mean and spread over them.", rich_help_panel=options.PROTOCOL
    ),
]
Solver = Annotated[
    str,
    typer.Option(
        "--solver",
        help="Of logistic regression: sklearn, torch, or auto: torch where a GPU is. Part of the record.",
        rich_help_panel=options.PROTOCOL,
    ),
]
AugmentedViews = Annotated[
    int,
    typer.Option(
        "--augmented-views",
        min=0,
        help="Views of every training clip, varied as the online recipe varies them, that are extracted once and"
        " trained on beside the plain one. Held-out and test clips stay plain.",
        rich_help_panel=options.PROTOCOL,
    ),
]


@dataclass(frozen=True, kw_only=True)
class OnFeatures:
    """The options of the cached protocol."""

    head: HeadNames = None
    fraction: Fraction = None
    per_class: PerClass = None
    solver: Solver = "auto"
    augmented_views: AugmentedViews = 0


DEFAULT = OnFeatures()


def probe(
    weights: option_groups.Weights = option_groups.WEIGHTS,
    dataset: options.DatasetName = None,
    root: options.Root = None,
    annotations: options.Annotations = None,
    fold: options.Fold = 1,
    split: options.Split = None,
    train_split: TrainSplit = "train",
    allow_shared_clips: AllowSharedClips = False,
    strict: options.Strict = False,
    protocol: Protocol = "cached",
    cached: OnFeatures = DEFAULT,
    seed: Seed = 0,
    seeds: Seeds = 1,
    online: recipes.RecipeOptions = recipes.AS_THE_PRESET,
    resume: recipes.Resume = False,
    sampling: options.Sampling = None,
    clip: option_groups.Clip = option_groups.CLIP,
    decoder: options.Decoder = "decord",
    machine: option_groups.Machine = option_groups.MACHINE,
    out: options.Out = Path("results"),
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Classification by heads on frozen features: k-NN, logistic regression, linear heads by SGD.

    Without options it measures a small backbone on the embedded world. A run that was stopped goes on where it was
    (with --protocol paper: with --resume). Recipes belong to --protocol paper; --epochs to both.

    tvts-bench probe --ckpt TVTS_yt_pt.pth --dataset ssv2 --root DIR

    tvts-bench probe --ckpt x.pth --dataset ucf101 --root DIR --per-class 4 --seeds 5

    tvts-bench probe --ckpt TVTS_yt_pt.pth --dataset ssv2 --root DIR --protocol paper --resume
    """
    from tvts_bench.cli import setup
    from tvts_bench.cli.classification import report
    from tvts_bench.cli.probe_protocols import Asked
    from tvts_bench.results import require_writable

    asked = Asked(
        split=split,
        train_split=train_split,
        allow_shared_clips=allow_shared_clips,
        heads=tuple(cached.head or ()),
        fraction=cached.fraction,
        per_class=cached.per_class,
        solver=cached.solver,
        augmented=cached.augmented_views,
        seeds=tuple(range(seed, seed + seeds)),
        recipe=online.fields,
        preset=online.recipe,
        habits=tuple(online.habit or ()),
        clip=setup.ClipChanges(sampling=sampling, seed=seed, **vars(clip)),
        decoder=decoder,
        dtype=machine.dtype,
    )
    build = asked.protocol(protocol)
    local = replace(setup.make_runtime(machine, strict), out=out, resume=resume)
    model = setup.make_backbone(weights)
    data = setup.make_dataset(dataset, root, annotations, fold, machine.cache)
    evaluator = build(model, data, local)
    require_writable(out)
    setup.measure(model, data, evaluator, local, lambda result: report(result, "Probe", out, as_json))
