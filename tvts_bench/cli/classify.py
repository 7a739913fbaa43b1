"""`tvts-bench probe`, classes read from frozen features, and `tvts-bench finetune`, which trains the backbone, too."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tvts_bench.cli import options
from tvts_bench.cli.options import FromFields, of_data, of_protocol, of_recipe
from tvts_bench.config_fields import field_options
from tvts_bench.errors import UserError
from tvts_bench.training.recipe import Recipe

if TYPE_CHECKING:
    from tvts_bench.evaluators.base import Evaluator
    from tvts_bench.evaluators.probe_heads import Heads
    from tvts_bench.results import Result
    from tvts_bench.training.presets import Task

ALL_FOLDS, FOLDS = "all", (1, 2, 3)  # --split all: the mean of the three
WITH_FOLDS = ("ucf101", "hmdb51")

Protocol = Annotated[
    str,
    of_protocol(
        "--protocol",
        help="cached: features extracted once, then every head from them. paper: the official online recipe.",
    ),
]
Seed = Annotated[
    int,
    of_protocol(
        "--seed",
        min=0,
        max=options.MAX_SEED,
        help="First seed of what is drawn: labels kept, the held-out part, the order of clips.",
    ),
]
RecipeSeed = Annotated[int, of_recipe("--seed", min=0, max=options.MAX_SEED, help="Of everything drawn.")]
SplitOrFolds = Annotated[
    str | None,
    of_data(
        "--split",
        help="Split to measure; by default the one that the data set's papers report. `all` for UCF-101 and HMDB-51:"
        " each of the three official splits (--fold), and their mean.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class OnFeatures:
    """The options of the cached protocol."""

    head: Annotated[
        list[str] | None,
        of_protocol(
            "--head",
            help="knn, logistic, linear, or attentive (over patch tokens; small data sets); repeat it. The first three"
            " by default.",
        ),
    ] = None
    fraction: Annotated[
        float | None,
        of_protocol(
            "--fraction",
            help="Share of every class's training labels that is used: 0.01, 0.1. With --seeds for a spread.",
        ),
    ] = None
    per_class: Annotated[int | None, of_protocol("--per-class", help="Training clips of every class: 4, 16.")] = None
    solver: Annotated[
        str,
        of_protocol(
            "--solver",
            help="Of logistic regression: sklearn, torch, or auto: torch where a GPU is. Part of the record.",
        ),
    ] = "auto"
    augmented_views: Annotated[
        int,
        of_protocol(
            "--augmented-views",
            min=0,
            help="Views of every training clip, varied as the online recipe varies them, that are extracted once and"
            " trained on beside the plain one. Held-out and test clips stay plain.",
        ),
    ] = 0

    @property
    def given(self) -> dict[str, object]:
        """What differs from the defaults, by option."""
        values = {"--head": self.head, "--fraction": self.fraction, "--per-class": self.per_class}
        solver = None if self.solver == "auto" else self.solver
        return {**values, "--augmented-views": self.augmented_views or None, "--solver": solver}

    def settings(self, heads: "Heads", device: str, epochs: int | None) -> "Heads":
        """The settings of every head, with the solver that suits the device and these epochs where a head has some.

        Raises:
            UserError: No such solver, or epochs for heads that have none.
        """
        solver = self.solver if self.solver != "auto" else "torch" if device.startswith("cuda") else "sklearn"
        logistic = replace(heads.logistic, solver=solver)  # type: ignore[arg-type]  # it refuses what is no solver
        if epochs is None:
            return replace(heads, logistic=logistic)
        if self.head and not set(self.head) - {"knn", "logistic"}:
            raise UserError(f"--epochs has no meaning with --head {' --head '.join(self.head)}; leave it out")
        trained = {name: replace(getattr(heads, name), epochs=epochs) for name in ("linear", "attentive")}
        return replace(heads, logistic=logistic, **trained)


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """The options of a recipe that all trainings have; what is left out is as the data set's recipe says."""

    recipe: Annotated[
        str | None,
        of_recipe(
            "--recipe",
            help="The recipe of another data set: ssv2, k400, ucf101, hmdb51, own, scripted_motion:ssv2, ... By default"
            " that of --dataset. The options below change it.",
            show_default=False,
        ),
    ] = None
    habit: Annotated[
        list[str] | None,
        of_recipe(
            "--habit",
            help="A named change, as the official code does it: paper (all of them), cutmix-axes, temporal-embed,"
            " logits, best-on-test; or no-augmentation. Repeat it.",
            show_default=False,
        ),
    ] = None
    fields: Annotated[
        dict[str, Any], FromFields(Recipe, ("epochs", "batch_size", "base_lr", "best", "average"), options.RECIPE)
    ] = dataclasses.field(default_factory=dict)

    @property
    def given(self) -> dict[str, object]:
        """What was given and has no meaning without a recipe, by option; the cached protocol has epochs, too."""
        known = field_options(Recipe)
        fields = {known[name].flag: value for name, value in self.fields.items() if name != "epochs"}
        return {"--recipe": self.recipe, "--habit": self.habit, **fields}

    def made(self, task: "Task", dataset: str, device: str, **changes: Any) -> Recipe:
        """The recipe for a data set: its preset or the one named, then the habits, then the options.

        Args:
            task: What is trained.
            dataset: Name of the data set.
            device: Where it will run.
            **changes: Of `changed_recipe`, beside those of these options; None changes nothing.

        Raises:
            UserError: An option has a value that makes no sense, alone or with the others.
        """
        from tvts_bench.training.presets import changed_recipe, named_recipe, preset, with_quirks

        base = preset(task, dataset) if self.recipe is None else named_recipe(task, self.recipe)
        given = {name: value for name, value in changes.items() if value is not None}
        return changed_recipe(with_quirks(base, self.habit or ()), device, **self.fields, **given)


@dataclass(frozen=True, kw_only=True)
class FineTuning(RecipeOptions):
    """What only training the backbone has beside them."""

    further: Annotated[
        dict[str, Any],
        FromFields(
            Recipe,
            ("warmup_epochs", "accumulate", "layer_decay", "drop_path", "ema", "clip_grad"),
            options.RECIPE,
        ),
    ] = dataclasses.field(default_factory=dict)


ON_FEATURES, AS_THE_RECIPE, FINE_TUNING = OnFeatures(), RecipeOptions(), FineTuning()


def probe(
    weights: options.Weights = options.NO_WEIGHTS,
    data: options.Data = options.NO_DATA,
    split: options.Split = None,
    train_split: options.TrainSplit = "train",
    allow_shared_clips: options.AllowSharedClips = False,
    strict: options.Strict = False,
    protocol: Protocol = "cached",
    cached: OnFeatures = ON_FEATURES,
    seed: Seed = 0,
    seeds: options.Seeds = 1,
    online: RecipeOptions = AS_THE_RECIPE,
    resume: options.Resume = False,
    clip: options.Clip = options.NO_CLIP,
    decoder: options.Decoder = "decord",
    machine: options.Machine = options.ANY_MACHINE,
    out: options.Out = Path("results"),
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Classification by heads on frozen features: k-NN, logistic regression, linear heads by SGD.

    Without options it measures a small backbone on the built-in synthetic set. A run that was stopped resumes where it
    was (with --protocol paper: with --resume). Recipes belong to --protocol paper; --epochs to both.

    tvts-bench probe --ckpt TVTS_yt_pt.pth --dataset ssv2 --root DIR

    tvts-bench probe --ckpt x.pth --dataset ucf101 --root DIR --per-class 4 --seeds 5

    tvts-bench probe --ckpt TVTS_yt_pt.pth --dataset ssv2 --root DIR --protocol paper --resume
    """
    _refuse_meaningless(protocol, {**cached.given, "--seeds": None if seeds == 1 else seeds}, online.given)
    from tvts_bench.cli import render, setup
    from tvts_bench.devices import resolve_dtype
    from tvts_bench.evaluators import cached_probe, online_probe
    from tvts_bench.probes.low_label import LowLabel
    from tvts_bench.results import require_writable
    from tvts_bench.video.spec import changed_clip

    local = replace(setup.make_runtime(machine, strict), out=out, resume=resume)
    model = setup.make_backbone(weights)
    dataset = setup.make_dataset(data.dataset, data.root, data.annotations, data.fold, machine.cache)
    shared: dict[str, Any] = {
        "split": split,
        "train_split": train_split,
        "allow_shared_clips": allow_shared_clips,
        "decoder": decoder,
    }
    evaluator: Evaluator
    if protocol == "paper":
        recipe = online.made("probe", dataset.name, local.device, **_for_recipe(clip, machine.dtype, seed))
        evaluator = replace(
            online_probe.DEFAULT, recipe=recipe, clip=changed_clip(model.clip_spec, **clip.pixels), **shared
        )
    else:
        default = cached_probe.DEFAULT
        few = cached.fraction is not None or cached.per_class is not None
        evaluator = replace(
            default,
            heads=tuple(cached.head or default.heads),  # type: ignore[arg-type]  # it refuses what is no head
            settings=cached.settings(default.settings, local.device, online.fields.get("epochs")),
            low_label=LowLabel(fraction=cached.fraction, per_class=cached.per_class) if few else None,
            augmented=cached.augmented_views,
            seeds=tuple(range(seed, seed + seeds)),
            clip=changed_clip(model.clip_spec, sampling=clip.sampling, views=clip.views, seed=seed, **clip.fields),
            dtype=resolve_dtype(machine.dtype, local.device),
            **shared,
        )
    require_writable(out)
    setup.measure(
        model, dataset, evaluator, local, lambda result: render.show_classification(result, "Probe", out, as_json)
    )


def finetune(
    weights: options.Weights = options.NO_WEIGHTS,
    data: options.Data = options.NO_DATA,
    split: SplitOrFolds = None,
    train_split: options.TrainSplit = "train",
    allow_shared_clips: options.AllowSharedClips = False,
    strict: options.Strict = False,
    training: FineTuning = FINE_TUNING,
    seed: RecipeSeed = 0,
    resume: options.Resume = False,
    clip: options.Clip = options.NO_CLIP,
    decoder: options.Decoder = "decord",
    machine: options.Machine = options.ANY_MACHINE,
    out: options.Out = Path("results"),
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Fine-tuning: the backbone and a linear head, trained on augmented clips and tested on several views of each.

    Without options it fine-tunes a small backbone on the built-in synthetic set. States and curves lie in a folder of
    the training's own under --out. Several GPUs: torchrun --nproc-per-node 8 -m tvts_bench finetune ...

    tvts-bench finetune --ckpt TVTS_yt_pt.pth --dataset ssv2 --root DIR --accumulate 16

    tvts-bench finetune --ckpt x.pth --dataset hmdb51 --root DIR --split all

    tvts-bench finetune --ckpt x.pth --dataset ssv2 --root DIR --habit paper --resume
    """
    from tvts_bench.cli import render, setup
    from tvts_bench.distributed import distributed_runtime
    from tvts_bench.evaluation import evaluate
    from tvts_bench.evaluators.finetune import Finetune
    from tvts_bench.results import require_writable
    from tvts_bench.results.official_splits import mean_of_folds
    from tvts_bench.video.spec import changed_clip

    local = replace(setup.make_runtime(machine, strict), out=out, resume=resume)
    model = setup.make_backbone(weights)
    folds = [
        setup.make_dataset(data.dataset, data.root, data.annotations, fold, machine.cache)
        for fold in _folds(data.dataset, split, data.fold)
    ]
    changes = {**training.further, **_for_recipe(clip, machine.dtype, seed)}
    protocol = Finetune(
        recipe=training.made("finetune", folds[0].name, local.device, **changes),
        train_split=train_split,
        split=None if len(folds) > 1 else split,
        clip=changed_clip(model.clip_spec, **clip.pixels),
        allow_shared_clips=allow_shared_clips,
        decoder=decoder,
    )
    require_writable(out)

    def show(result: "Result", is_part: bool) -> None:
        render.show_classification(result, "Fine-tuning", out, as_json, is_part=is_part)

    results = []
    with distributed_runtime(local) as own:
        for dataset in folds:
            results.append(evaluate(model, dataset, protocol, own))
            if own.rank == 0:
                show(results[-1], len(folds) > 1)
    if own.rank == 0 and len(results) > 1:
        show(mean_of_folds(results), False)


def _for_recipe(clip: options.Clip, dtype: str, seed: int) -> dict[str, Any]:
    """What other options than those of a recipe change of it."""
    stride = clip.fields.get("stride")
    return {"sampling": clip.sampling, "views": clip.views, "stride": stride, "dtype": dtype, "seed": seed}


def _refuse_meaningless(protocol: str, cached: Mapping[str, object], online: Mapping[str, object]) -> None:
    """Refuse options that mean nothing to a protocol of probing, rather than ignore them."""
    if protocol not in ("cached", "paper"):
        raise UserError(f"--protocol must be cached or paper, got {protocol!r}")
    for name, value in (online if protocol == "cached" else cached).items():
        if value not in (None, []):
            raise UserError(f"{name} has no meaning with --protocol {protocol}; leave it out")


def _folds(dataset: str | None, split: str | None, fold: int) -> tuple[int, ...]:
    """Numbers of the official splits to measure."""
    if split != ALL_FOLDS or dataset is None or dataset.rpartition(":")[2] not in WITH_FOLDS:
        return (fold,)
    if fold != 1:
        raise UserError(f"--split all is all official splits, --fold {fold} one of them: leave one of the two out")
    return FOLDS
