"""From a recipe to its optimiser and learning rate."""

import torch
from torch import nn

from tvts_bench.backbones.base import Backbone
from tvts_bench.training.layer_decay import layer_groups
from tvts_bench.training.optim import LearningRate
from tvts_bench.training.recipes import Recipe


def build_optimizer(recipe: Recipe, backbone: Backbone, head: nn.Module, total_batch: int) -> torch.optim.Optimizer:
    """The optimiser of `recipe` over what is trained of `backbone` and `head`, for steps of `total_batch` clips.

    Raises:
        BackboneError: the recipe decays rates by layer and the backbone does not know its layers.
    """
    groups = layer_groups(
        backbone,
        head,
        weight_decay=recipe.weight_decay,
        factor=recipe.layer_decay,
        time_table=recipe.time_table,
    )
    if recipe.optimizer == "sgd":  # Nesterov's, as what the official code calls sgd
        return torch.optim.SGD(
            groups, lr=recipe.lr(total_batch), momentum=recipe.momentum, nesterov=recipe.momentum > 0
        )
    return torch.optim.AdamW(groups, lr=recipe.lr(total_batch), betas=recipe.betas)


def learning_rate(
    recipe: Recipe, optimizer: torch.optim.Optimizer, total_batch: int, steps_per_epoch: int
) -> LearningRate:
    """What sets the rate of every step (from 0) in `optimizer`; a group has its `lr_scale` times that.

    With W = warmup_epochs * steps_per_epoch steps of warm-up, S steps in all and the highest rate
    h = base_lr * total_batch / 256:

        h * (step + 1) / (W + 1)                                           in the warm-up
        f + (h - f) * (1 + cos(pi * (step - W) / (S - W))) / 2             after it, f = final_lr * h
    """
    return LearningRate(optimizer, recipe.schedule(total_batch), recipe.epochs * steps_per_epoch)
