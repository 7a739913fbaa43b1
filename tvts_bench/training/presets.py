"""The recipes that have a name: one for each data set and task, and the official code's quirks.

Where they are from. SSV2: the scripts of TVTS's official code, which has no other data set. Kinetics-400 and UCF-101:
that recipe with the frames, views and schedule of VideoMAE's scripts for the same network, of which the official code
is a variation; HMDB-51 as UCF-101. The built-in synthetic set's: ours, minutes on two cores.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

from tvts_bench.devices import resolve_dtype
from tvts_bench.errors import UserError, did_you_mean
from tvts_bench.training.recipe import UNMIXED, Recipe, without_augmentation
from tvts_bench.video.spec import ClipAugment, named_sampling, require_dense

Task = Literal["probe", "finetune"]

_MIRRORED = ClipAugment(flip=0.5)  # where left and right are the same to the class

_OFFICIAL_PROBE = Recipe(
    optimizer="sgd",
    base_lr=0.1,
    weight_decay=1e-9,
    epochs=100,
    warmup_epochs=10.0,
    layer_decay=1.0,
)

# Frames of 36 to 44 pixels with one small sprite, whose motion is the class: a part of the frame could miss it, so the
# crop only shifts. Rates and epochs were tried on held-out training clips with `tvts:scripted_motion_tiny`; at the
# paper's rates its head had learned nothing in that time.
_SMALL = ClipAugment(crop="jitter", jitter=(1.0, 1.125), operations=0, erase=0.0)
_SMALL_FINETUNE = Recipe(
    base_lr=0.02,  # 2.5e-3 for this batch
    batch_size=32,
    epochs=10,
    warmup_epochs=1.0,
    mix=UNMIXED,
    augment=_SMALL,
    precision="fp32",
    views="2x1",
)
_SMALL_PROBE = replace(
    _SMALL_FINETUNE,
    optimizer="sgd",
    base_lr=3.0,
    batch_size=64,
    weight_decay=1e-9,
    epochs=30,
    warmup_epochs=2.0,
    layer_decay=1.0,
)

_FEW_VIDEOS = Recipe(
    base_lr=5e-4,
    batch_size=128,
    epochs=100,
    layer_decay=0.7,
    drop_path=0.2,
    augment=_MIRRORED,
    sampling="dense",
    views="5x3",
)

FINETUNE: Mapping[str, Recipe] = {
    "ssv2": Recipe(),
    "k400": Recipe(epochs=100, augment=_MIRRORED, sampling="dense", views="5x3"),
    "ucf101": _FEW_VIDEOS,
    "hmdb51": _FEW_VIDEOS,
    "own": Recipe(batch_size=64, views="2x3"),  # `folder` and `list`: SSV2's, since left may not be right in them
    "scripted_motion:ssv2": _SMALL_FINETUNE,
    "scripted_motion:k400": replace(_SMALL_FINETUNE, epochs=20),
    "scripted_motion:ucf101": replace(_SMALL_FINETUNE, epochs=30),
    "scripted_motion:hmdb51": replace(_SMALL_FINETUNE, epochs=30),
}
"""Fine-tuning, by data set (see `preset_name`)."""

PROBE: Mapping[str, Recipe] = {
    "ssv2": _OFFICIAL_PROBE,
    "k400": replace(_OFFICIAL_PROBE, augment=_MIRRORED, sampling="dense", views="5x3"),
    "ucf101": replace(_OFFICIAL_PROBE, batch_size=128, augment=_MIRRORED, sampling="dense", views="5x3"),
    "hmdb51": replace(_OFFICIAL_PROBE, batch_size=128, augment=_MIRRORED, sampling="dense", views="5x3"),
    "own": replace(_OFFICIAL_PROBE, batch_size=64),
    "scripted_motion:ssv2": _SMALL_PROBE,
    "scripted_motion:k400": _SMALL_PROBE,
    "scripted_motion:ucf101": _SMALL_PROBE,
    "scripted_motion:hmdb51": _SMALL_PROBE,
}
"""The online probe, by data set."""


def preset_name(dataset: str) -> str:
    """The preset for a data set's name ("ucf101-fold2", "scripted_motion-ssv2"): "own" where there is none."""
    name = re.sub(r"-fold\d+$", "", dataset).replace("scripted_motion-", "scripted_motion:")
    return name if name in FINETUNE else "own"


def preset(task: Task, dataset: str) -> Recipe:
    """The recipe for a task on the data set of that name (`Dataset.name`)."""
    return {"probe": PROBE, "finetune": FINETUNE}[task][preset_name(dataset)]


QUIRKS: Mapping[str, Callable[[Recipe], Recipe]] = {
    # CutMix cuts time x height: most boxes lie behind the last frame, and labels are mixed although no pixel is.
    "cutmix-axes": lambda recipe: replace(recipe, mix=replace(recipe.mix, cutmix_axes="paper")),
    # `temporal_embed` has the learning rate of the head and its weight decay.
    "temporal-embed": lambda recipe: replace(recipe, time_table="head"),
    # Logits, not probabilities, are averaged over the views.
    "logits": lambda recipe: replace(recipe, average="logits"),
    # The epoch that is tested is the one that is best on the test set.
    "best-on-test": lambda recipe: replace(recipe, best="test"),
    # What the probe's script does under DeepSpeed, against its own flags: AdamW at the same rate, 0.15 for 384 clips.
    "adamw-probe": lambda recipe: replace(recipe, optimizer="adamw"),
    # Not the paper's: clips and labels as they are, for comparison with a probe on stored features.
    "no-augmentation": without_augmentation,
}
"""Named changes to a recipe."""

OFFICIAL_QUIRKS = ("cutmix-axes", "temporal-embed", "logits", "best-on-test")
"""The quirks that the published numbers were made with, as far as is known."""


def with_quirks(recipe: Recipe, names: Iterable[str]) -> Recipe:
    """The recipe with each named quirk; "paper" stands for all of `OFFICIAL_QUIRKS`.

    Raises:
        UserError: no quirk of that name.
    """
    known = {"paper": OFFICIAL_QUIRKS, **{name: (name,) for name in QUIRKS}}
    for name in names:
        if name not in known:
            raise UserError(f"there is no habit {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")
        for quirk in known[name]:
            recipe = QUIRKS[quirk](recipe)
    return recipe


def changed_recipe(
    base: Recipe,
    device: str,
    *,
    sampling: str | None = None,
    dtype: str = "auto",
    **fields: Any,
) -> Recipe:
    """A recipe with what a user changes of it.

    Args:
        base: Of the data set.
        device: That it will run on; decides what precision "auto" is.
        sampling: "center" or "dense"; None changes nothing.
        dtype: "auto", "fp32" or "bf16".
        **fields: Fields of the recipe.

    Raises:
        UserError: A value that makes no sense, alone or with the others.
    """
    if sampling is not None:
        fields["sampling"] = named_sampling(sampling, for_training=True).sampling
    if dtype != "auto":
        fields["precision"] = resolve_dtype(dtype, device)
    if "epochs" in fields:  # the same share of warm-up, which could be longer than the whole run otherwise
        fields.setdefault("warmup_epochs", base.warmup_epochs * fields["epochs"] / base.epochs)
    changed = replace(base, **fields)
    require_dense(fields.get("stride"), changed.sampling)
    if dtype == "auto" and changed.precision == "bf16":  # not where it would be emulated
        changed = replace(changed, precision=resolve_dtype("auto", device))
    return changed


def named_recipe(task: Task, name: str) -> Recipe:
    """The recipe for a task by its name, which is a data set's.

    Raises:
        UserError: There is none.
    """
    if name not in FINETUNE:
        raise UserError(
            f"there is no --recipe {name!r}{did_you_mean(name, FINETUNE)}; there are: {', '.join(FINETUNE)}"
        )
    return preset(task, name)
