"""`tvts-bench probe`, classes read from frozen features, and `tvts-bench finetune`, which trains the backbone, too."""

import dataclasses
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from tvts_bench.cli import options
from tvts_bench.cli.options import PROTOCOL, RECIPE, FromFields
from tvts_bench.config_fields import Option
from tvts_bench.errors import UserError
from tvts_bench.training.recipe import Recipe

if TYPE_CHECKING:
    from tvts_bench.evaluators.base import Evaluator
    from tvts_bench.evaluators.cached_probe import CachedProbe
    from tvts_bench.training.presets import Task

ALL_FOLDS, FOLDS = "all", (1, 2, 3)  # --split all: the mean of the three
WITH_FOLDS = ("ucf101", "hmdb51")
PROTOCOLS = ("cached", "paper")


@dataclass(frozen=True, kw_only=True)
class OnFeatures:
    """The options of the cached protocol."""

    panel: ClassVar[str] = PROTOCOL

    head: Annotated[
        list[str] | None,
        Option(
            "knn, logistic, linear, or attentive (over patch tokens; small data sets); repeat it. The first three by"
            " default."
        ),
    ] = None
    fraction: Annotated[
        float | None,
        Option("Share of every class's training labels that is used: 0.01, 0.1. With --seeds for a spread."),
    ] = None
    per_class: Annotated[int | None, Option("Training clips of every class: 4, 16.")] = None
    solver: Annotated[
        str, Option("Of logistic regression: sklearn, torch, or auto: torch where a GPU is. Part of the record.")
    ] = "auto"
    augmented_views: Annotated[
        int,
        Option(
            "Views of every training clip, varied as the online recipe varies them, that are extracted once and trained"
            " on beside the plain one. Held-out and test clips stay plain.",
            least=0,
        ),
    ] = 0
    seeds: options.Seeds = 1

    def probe(self, device: str, seed: int, epochs: int | None) -> "CachedProbe":
        """The protocol, but for splits, clip and precision.

        Args:
            device: Where heads are fitted.
            seed: The first one.
            epochs: Of heads that have some; None: as they are by default.

        Raises:
            UserError: An option has a value that makes no sense, alone or with the others.
        """
        from tvts_bench.evaluators.cached_probe import DEFAULT
        from tvts_bench.probes.base import LowLabel

        few = self.fraction is not None or self.per_class is not None
        return replace(
            DEFAULT,
            heads=tuple(self.head or DEFAULT.heads),  # type: ignore[arg-type]  # it refuses what is no head
            settings=DEFAULT.settings.changed(self.solver, device, epochs, self.head),
            low_label=LowLabel(fraction=self.fraction, per_class=self.per_class) if few else None,
            augmented=self.augmented_views,
            seeds=tuple(range(seed, seed + self.seeds)),
        )


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """The options of a recipe that all trainings have; what is left out is as the data set's recipe says."""

    panel: ClassVar[str] = RECIPE

    recipe: Annotated[
        str | None,
        Option(
            "The recipe of another data set: ssv2, k400, ucf101, hmdb51, own, scripted_motion:ssv2, ... By default that"
            " of --dataset. The options below change it."
        ),
    ] = None
    habit: Annotated[
        list[str] | None,
        Option(
            "A named change, as the official code does it: paper (the first four), cutmix-axes, temporal-embed, logits,"
            " best-on-test, adamw-probe; or no-augmentation. Repeat it."
        ),
    ] = None
    fields: Annotated[
        dict[str, Any], FromFields(Recipe, ("epochs", "batch_size", "base_lr", "best", "average"), RECIPE)
    ] = dataclasses.field(default_factory=dict)

    def made(self, task: "Task", dataset: str, device: str, clip: options.ClipOptions, **changes: Any) -> Recipe:
        """The recipe for a data set: its preset or the one named, then the habits, then the options.

        Args:
            task: What is trained.
            dataset: Name of the data set.
            device: Where it will run.
            clip: Its frames and views are the recipe's.
            **changes: Of `changed_recipe`, beside those of these options.

        Raises:
            UserError: An option has a value that makes no sense, alone or with the others.
        """
        from tvts_bench.training.presets import changed_recipe, named_recipe, preset, with_quirks

        base = preset(task, dataset) if self.recipe is None else named_recipe(task, self.recipe)
        of_clip = {"sampling": clip.sampling, "views": clip.views, "stride": clip.fields.get("stride")}
        given = {name: value for name, value in of_clip.items() if value is not None}
        return changed_recipe(with_quirks(base, self.habit or ()), device, **self.fields, **given, **changes)


@dataclass(frozen=True, kw_only=True)
class FineTuning(RecipeOptions):
    """What only training the backbone has beside them."""

    further: Annotated[
        dict[str, Any],
        FromFields(Recipe, ("warmup_epochs", "accumulate", "layer_decay", "drop_path", "ema", "clip_grad"), RECIPE),
    ] = dataclasses.field(default_factory=dict)
    seed: Annotated[int, Option("Of everything drawn.", least=0, most=options.MAX_SEED)] = 0
    resume: options.Resume = False


@dataclass(frozen=True, kw_only=True)
class SplitsOrFolds(options.Splits):
    """Splits, or all official ones."""

    split: Annotated[
        str | None,
        Option(
            "Split to measure; by default the one that the data set's papers report. `all` for UCF-101 and HMDB-51:"
            " each of the three official splits (--fold), and their mean."
        ),
    ] = None


def probe(
    weights: options.Weights,
    data: options.Data,
    splits: options.Splits,
    cached: OnFeatures,
    online: RecipeOptions,
    clip: options.ClipOptions,
    machine: options.Reader,
    output: options.Output,
    protocol: Annotated[
        str,
        Option("cached: features extracted once, then every head from them. paper: the official online recipe."),
        PROTOCOL,
    ] = "cached",
    seed: Annotated[
        int,
        Option(
            "First seed of what is drawn: labels kept, the held-out part, the order of clips.",
            least=0,
            most=options.MAX_SEED,
        ),
        PROTOCOL,
    ] = 0,
    resume: options.Resume = False,
) -> None:
    """Classification by heads on frozen features: k-NN, logistic regression, linear heads by SGD.

    Without options it measures a small backbone on the built-in synthetic set. A run that was stopped resumes where it
    was (with --protocol paper: with --resume). Recipes belong to --protocol paper; --epochs to both.

    tvts-bench probe --ckpt TVTS_yt_pt.pth --dataset ssv2 --root DIR

    tvts-bench probe --ckpt x.pth --dataset ucf101 --root DIR --per-class 4 --seeds 5

    tvts-bench probe --ckpt TVTS_yt_pt.pth --dataset ssv2 --root DIR --protocol paper --resume
    """
    _refuse_meaningless(protocol, cached, online)
    from tvts_bench.cli import render, setup
    from tvts_bench.devices import resolve_dtype
    from tvts_bench.evaluators import online_probe
    from tvts_bench.results import require_writable
    from tvts_bench.video.spec import changed_clip

    local = replace(setup.make_runtime(machine, machine.strict), out=output.out, resume=resume)
    model = setup.make_backbone(weights)
    dataset = setup.make_dataset(data.dataset, data.root, data.annotations, data.fold, machine.cache)
    shared: dict[str, Any] = {**dataclasses.asdict(splits), "decoder": machine.decoder}
    evaluator: Evaluator
    if protocol == "paper":
        recipe = online.made("probe", dataset.name, local.device, clip, dtype=machine.dtype, seed=seed)
        evaluator = replace(
            online_probe.DEFAULT, recipe=recipe, clip=changed_clip(model.clip_spec, **clip.pixels), **shared
        )
    else:
        evaluator = replace(
            cached.probe(local.device, seed, online.fields.get("epochs")),
            clip=changed_clip(model.clip_spec, seed=seed, **clip.changes),
            dtype=resolve_dtype(machine.dtype, local.device),
            **shared,
        )
    require_writable(output.out)
    setup.measure(model, dataset, evaluator, local, partial(render.show_classification, title="Probe", output=output))


def finetune(
    weights: options.Weights,
    data: options.Data,
    splits: SplitsOrFolds,
    training: FineTuning,
    clip: options.ClipOptions,
    machine: options.Reader,
    output: options.Output,
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

    local = replace(setup.make_runtime(machine, machine.strict), out=output.out, resume=training.resume)
    model = setup.make_backbone(weights)
    folds = [
        setup.make_dataset(data.dataset, data.root, data.annotations, fold, machine.cache)
        for fold in _folds(data.dataset, splits.split, data.fold)
    ]
    recipe = training.made(
        "finetune", folds[0].name, local.device, clip, **training.further, dtype=machine.dtype, seed=training.seed
    )
    protocol = Finetune(
        recipe=recipe,
        train_split=splits.train_split,
        split=None if len(folds) > 1 else splits.split,
        clip=changed_clip(model.clip_spec, **clip.pixels),
        allow_shared_clips=splits.allow_shared_clips,
        decoder=machine.decoder,
    )
    require_writable(output.out)
    show = partial(render.show_classification, title="Fine-tuning", output=output)
    results = []
    with distributed_runtime(local) as own:
        for dataset in folds:
            results.append(evaluate(model, dataset, protocol, own))
            if own.rank == 0:
                show(results[-1], is_part=len(folds) > 1)
    if own.rank == 0 and len(results) > 1:
        show(mean_of_folds(results))


def _refuse_meaningless(protocol: str, cached: OnFeatures, online: RecipeOptions) -> None:
    """Refuse options that mean nothing to a protocol of probing, rather than ignore them; both have epochs."""
    if protocol not in PROTOCOLS:
        raise UserError(f"--protocol must be {' or '.join(PROTOCOLS)}, got {protocol!r}")
    for option, _ in options.given(online if protocol == "cached" else cached):
        if option != "--epochs":
            raise UserError(f"{option} has no meaning with --protocol {protocol}; leave it out")


def _folds(dataset: str | None, split: str | None, fold: int) -> tuple[int, ...]:
    """Numbers of the official splits to measure."""
    if split != ALL_FOLDS or dataset is None or dataset.rpartition(":")[2] not in WITH_FOLDS:
        return (fold,)
    if fold != 1:
        raise UserError(f"--split all is all official splits, --fold {fold} one of them: leave one of the two out")
    return FOLDS
