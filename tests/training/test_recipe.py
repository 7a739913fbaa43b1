"""Recipes: rates by the formula, clips by the recipe, nonsense refused."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.support.supervised_world import TWELVE
from tvts_bench.backbones.base import WeightSource
from tvts_bench.backbones.tvts import TVTSBackbone
from tvts_bench.errors import UserError
from tvts_bench.models.vit import VideoTransformer
from tvts_bench.training.optim import LearningRate, classifier_optimizer
from tvts_bench.training.recipe import UNMIXED, Recipe, without_augmentation
from tvts_bench.video.spec import PLAIN, ClipSpec


def formula(recipe: Recipe, total_batch: int, step: int, steps_per_epoch: int) -> float:
    """Linear warm-up, then half a cosine, of a rate scaled linearly with the batch."""
    highest = recipe.base_lr * total_batch / 256
    warmup, steps = recipe.warmup_epochs * steps_per_epoch, recipe.epochs * steps_per_epoch
    if step < warmup:
        return highest * (step + 1) / (warmup + 1)
    lowest = recipe.final_lr * highest
    return lowest + (highest - lowest) * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def rate_of(recipe: Recipe, total_batch: int, step: int, steps_per_epoch: int) -> float:
    """The rate that `LearningRate` sets."""
    recipe = replace(recipe, batch_size=total_batch)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.lr)
    return LearningRate(optimizer, recipe.schedule, recipe.epochs * steps_per_epoch).set(step)


@pytest.mark.parametrize(
    "recipe",
    [Recipe(), Recipe(optimizer="sgd", base_lr=0.1, epochs=100, warmup_epochs=10.0, final_lr=0.01, layer_decay=1.0)],
    ids=["finetune", "probe"],
)
@pytest.mark.parametrize("total_batch", [384, 64])
def test_the_rate_of_a_step_is_that_of_the_formula(recipe: Recipe, total_batch: int) -> None:
    per_epoch = 7
    steps = recipe.epochs * per_epoch
    for step in (0, 1, 34, 35, 36, 70, 71, 100, steps // 2, steps - 1):
        found = rate_of(recipe, total_batch, step, per_epoch)
        assert found == pytest.approx(formula(recipe, total_batch, step, per_epoch), rel=1e-9), step


def test_the_published_rates() -> None:
    finetune = Recipe()
    assert finetune.lr == pytest.approx(1.5e-3)
    assert rate_of(finetune, 384, 5 * 440, 440) == pytest.approx(1.5e-3)  # the warm-up has ended
    assert rate_of(finetune, 384, 27 * 440 + 220, 440) == pytest.approx(0.75e-3)  # half way from 5 to 50 epochs


def test_layers_share_the_schedule_each_at_its_own_rate() -> None:
    backbone = TVTSBackbone(VideoTransformer.seeded(TWELVE, 0), "small", WeightSource(name="none", sha256="0"))
    head, recipe = nn.Linear(8, 3), Recipe()
    of_block = {
        name.split(".")[2]: id(p) for name, p in backbone.named_parameters() if name.endswith("attn.proj.weight")
    }
    optimizer = classifier_optimizer(recipe, backbone, head)
    rate = LearningRate(optimizer, recipe.schedule, recipe.epochs * 10)
    assert isinstance(optimizer, torch.optim.AdamW)
    for step in (0, 20, 49, 50, 300, 499):
        rate.set(step)
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        expected = formula(recipe, 384, step, 10)
        assert rates[id(head.weight)] == pytest.approx(expected)
        assert rates[id(backbone.encoder.norm.bias)] == pytest.approx(expected)
        assert rates[of_block["11"]] == pytest.approx(0.75 * expected)
        assert rates[of_block["0"]] == pytest.approx(0.75**12 * expected)
        assert rates[id(backbone.encoder.temporal_embed)] == pytest.approx(0.75**13 * expected)


def test_sgd_has_nesterovs_momentum() -> None:
    backbone = TVTSBackbone(VideoTransformer.seeded(TWELVE, 0), "small", WeightSource(name="none", sha256="0"))
    recipe = Recipe(optimizer="sgd", layer_decay=1.0, weight_decay=1e-9)
    optimizer = classifier_optimizer(recipe, backbone.requires_grad_(False), nn.Linear(8, 3))
    assert isinstance(optimizer, torch.optim.SGD)
    assert [(g["momentum"], g["nesterov"], len(g["params"])) for g in optimizer.param_groups] == [(0.9, True, 1)] * 2
    assert {g["weight_decay"] for g in optimizer.param_groups} == {0.0, 1e-9}


def test_training_and_testing_cut_the_clip_that_the_recipe_says() -> None:
    own = ClipSpec(num_frames=8, short_side=32, crop=32, seed=3, spatial_views=3, temporal_views=4)
    recipe = Recipe(sampling="dense", stride=2, views="5x3")
    assert recipe.training_clip(own) == replace(
        own, sampling="dense", stride=2, position="random", temporal_views=1, spatial_views=1
    )
    assert recipe.testing_clip(replace(own, position="random")) == replace(
        own, sampling="dense", stride=2, position="center", temporal_views=5, spatial_views=3
    )
    assert without_augmentation(recipe).training_clip(own).position == "center"


def test_several_spatial_views_are_cut_from_frames_that_are_not_squashed() -> None:
    own = ClipSpec(num_frames=8, sampling="endpoints", resize="squash")
    clip = Recipe(views="2x3").testing_clip(own)
    assert (clip.sampling, clip.resize, clip.num_views) == ("segments", "short_side", 6)
    assert Recipe(views="2x1").testing_clip(own).resize == "squash"
    assert Recipe().training_clip(own).resize == "squash"


def test_without_augmentation_nothing_else_changes() -> None:
    plain = without_augmentation(Recipe(epochs=7))
    assert plain == Recipe(epochs=7, augment=PLAIN, mix=UNMIXED)
    assert not plain.mix.mixes


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"optimizer": "adam"}, "sgd, adamw, got 'adam'"),
        ({"base_lr": 0.0}, "base_lr must be positive, got 0.0"),
        ({"epochs": 10**9}, "epochs must be at most 1,000,000, got 1,000,000,000"),
        ({"batch_size": 10**12}, "batch_size must be at most 1,000,000, got 1,000,000,000,000"),
        ({"views": "99999999x3"}, "views must be at most 1,000 temporal ones, got '99999999x3'"),
        ({"batch_size": -4}, "-4"),
        ({"epochs": 5}, "warmup_epochs must be less than 5 epochs, got 5"),
        ({"layer_decay": 1.5}, "layer_decay"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"views": "2x2"}, "'2x2'"),
        ({"views": "0x3"}, "'0x3'"),
        ({"views": "six"}, "'six'"),
        ({"average": "mean"}, "probabilities, logits, got 'mean'"),
        ({"best": "val"}, "'val'"),
        ({"time_table": "top"}, "'top'"),
        ({"held_out": 0.0}, "held_out"),
        ({"ema": 1.0}, "ema"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"clip_grad": 0.0}, "clip_grad"),
        ({"seed": -1}, "seed"),
        ({"base_lr": float("nan")}, "nan"),
        ({"base_lr": float("inf")}, "lr must be finite, got inf"),
        ({"clip_grad": float("inf")}, "clip_grad must be finite, got inf"),
    ],
)
def test_nonsense_is_refused_with_its_value(bad: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe(**bad)  # type: ignore[arg-type]
