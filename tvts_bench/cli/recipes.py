"""Options that change a recipe, and the recipe they make. What is left out stays as the data set's recipe says."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvts_bench.cli import options
from tvts_bench.errors import UserError

if TYPE_CHECKING:
    from tvts_bench.training.presets import Task
    from tvts_bench.training.recipe import Recipe

RECIPE = "Recipe"
SAMPLINGS = {"center": "segments", "dense": "dense"}  # in testing; in training the recipe's augmentation says where

RecipeName = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="The recipe of another data set: ssv2, k400, ucf101, hmdb51, own, scripted_motion:ssv2, ... By default"
        " that of --dataset. The options below change it.",
        rich_help_panel=RECIPE,
        show_default=False,
    ),
]
Habits = Annotated[
    list[str] | None,
    typer.Option(
        "--habit",
        help="A named change, as the official code does it: paper (all of them), cutmix-axes, temporal-embed, logits,"
        " best-on-test; or no-augmentation. Repeat it.",
        rich_help_panel=RECIPE,
        show_default=False,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        min=1,
        help="Passes over the training clips; the warm-up keeps its share of them.",
        rich_help_panel=RECIPE,
    ),
]
WarmupEpochs = Annotated[
    float | None,
    typer.Option("--warmup-epochs", help="Of them, those in which the rate rises.", rich_help_panel=RECIPE),
]
TotalBatch = Annotated[
    int | None,
    typer.Option(
        "--total-batch",
        min=1,
        help="Clips a step, over all processes and micro-batches; the learning rate is scaled with it.",
        rich_help_panel=RECIPE,
    ),
]
Accumulate = Annotated[
    int | None,
    typer.Option(
        "--accumulate",
        min=1,
        help="Micro-batches of a step on each process: the same total batch in less memory.",
        rich_help_panel=RECIPE,
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option("--lr", help="Highest learning rate for a batch of 256; scaled linearly.", rich_help_panel=RECIPE),
]
LayerDecay = Annotated[
    float | None,
    typer.Option("--layer-decay", help="Rate of a layer / that of the one above it; 1: none.", rich_help_panel=RECIPE),
]
DropPath = Annotated[
    float | None, typer.Option("--drop-path", help="Stochastic depth of the last block.", rich_help_panel=RECIPE)
]
Ema = Annotated[
    float | None,
    typer.Option("--ema", help="Decay a step of averaged weights, which are then tested.", rich_help_panel=RECIPE),
]
ClipGrad = Annotated[
    float | None, typer.Option("--clip-grad", help="Largest norm of the gradient.", rich_help_panel=RECIPE)
]
Best = Annotated[
    str | None,
    typer.Option(
        "--best",
        help="The epoch that is tested: held-out (best on a part of train that is not trained on), test (best on the"
        " test clips: the paper's habit, optimistic) or last.",
        rich_help_panel=RECIPE,
        show_default=False,
    ),
]
Average = Annotated[
    str | None,
    typer.Option(
        "--average",
        help="Of a clip's views: probabilities, or logits (the paper's).",
        rich_help_panel=RECIPE,
        show_default=False,
    ),
]
Sampling = Annotated[
    str | None,
    typer.Option(
        "--sampling",
        help="Frames: center (of equal segments) or dense (--stride); in training at random places of these."
        " The recipe's own by default.",
        rich_help_panel=options.PROTOCOL,
        show_default=False,
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=options.MAX_SEED, help="Of everything drawn.", rich_help_panel=RECIPE)
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with a training that was stopped, exactly; or test one again.", rich_help_panel=RECIPE
    ),
]


@dataclass(frozen=True, kw_only=True)
class RecipeOptions:
    """The options of a recipe that all trainings have, as one parameter of a command; `None` changes nothing."""

    recipe: RecipeName = None
    habit: Habits = None
    epochs: Epochs = None
    total_batch: TotalBatch = None
    lr: LearningRate = None
    best: Best = None
    average: Average = None

    @property
    def fields(self) -> dict[str, object]:
        """Its values by the recipe's names."""
        names = {"total_batch": "batch_size", "lr": "base_lr"}
        return {names.get(name, name): value for name, value in vars(self).items() if name not in ("recipe", "habit")}


AS_THE_PRESET = RecipeOptions()


@dataclass(frozen=True, kw_only=True)
class RecipeChanges:
    """What the options change of a recipe; `None` changes nothing."""

    preset: str | None  # of another data set than the one that is trained on
    habits: tuple[str, ...]
    fields: Mapping[str, Any]  # of Recipe, by its own names
    sampling: str | None
    stride: int | None
    dtype: str

    def recipe(self, task: "Task", dataset: str, device: str) -> "Recipe":
        """The recipe to train with on the data set of that name: its preset, then the habits, then the options.

        Raises:
            UserError: an option has a value that makes no sense, alone or with the others.
        """
        from tvts_bench.devices import resolve_dtype
        from tvts_bench.training.presets import preset, with_quirks

        if self.preset is not None:
            _require_preset(self.preset)
        changes = {name: value for name, value in self.fields.items() if value is not None}
        if self.sampling is not None:
            if self.sampling not in SAMPLINGS:
                known = ", ".join(SAMPLINGS)
                raise UserError(f"--sampling must be one of {known} where clips are trained on, got {self.sampling!r}")
            changes["sampling"] = SAMPLINGS[self.sampling]
        if self.stride is not None:
            changes["stride"] = self.stride
        if self.dtype != "auto":
            changes["precision"] = resolve_dtype(self.dtype, device)
        named = with_quirks(preset(task, self.preset or dataset), self.habits)
        if "epochs" in changes:  # the same share of warm-up, which could be longer than the whole run otherwise
            changes.setdefault("warmup_epochs", named.warmup_epochs * changes["epochs"] / named.epochs)
        changed = replace(named, **changes)
        if self.stride is not None and changed.sampling != "dense":
            raise UserError(f"--stride {self.stride} is the distance of dense frames: add --sampling dense")
        if self.dtype == "auto" and changed.precision == "bf16":  # not where it would be emulated
            changed = replace(changed, precision=resolve_dtype("auto", device))
        return changed


def _require_preset(name: str) -> None:
    from tvts_bench.training.presets import FINETUNE

    if name not in FINETUNE:
        close = difflib.get_close_matches(name, FINETUNE)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise UserError(f"there is no --recipe {name!r}{hint}; there are: {', '.join(FINETUNE)}")
