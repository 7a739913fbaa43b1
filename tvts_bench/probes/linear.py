"""Linear heads trained by SGD, as the paper's probe, but on cached features and a whole grid of them at once.

All heads of the grid are one [G, C, D] tensor: a step reads each batch once, whatever the size of the grid, and every
head gets the update that torch.optim.SGD would give it alone. A head whose rate is too high harms no other.
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from tvts_bench.errors import UserError
from tvts_bench.probes.base import (
    Advance,
    Fitted,
    Float32Array,
    GradientTrained,
    LabelledFeatures,
    Task,
    at_the_end,
    best,
    choices,
    finite_percent_right,
    unheard,
    without_unseen,
)


@dataclass(frozen=True, kw_only=True)
class Linear(GradientTrained):
    """The grid, and how each of its heads is trained: SGD with momentum and a cosine without warm-up, from zero."""

    lrs: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # at the start, for `batch_size` clips
    weight_decays: tuple[float, ...] = (0.0, 1e-4)  # of weights; biases have none
    epochs: int = 50
    batch_size: int = 256  # clips; all of them where there are fewer
    momentum: float = 0.9

    def __post_init__(self) -> None:
        for name in ("lrs", "weight_decays"):
            values = getattr(self, name)
            if not values or min(values) < 0 or len(set(values)) < len(values):
                raise UserError(f"{name} must be different numbers from 0, got {list(values)}")
        self.refuse_no_epochs()
        if not 0 <= self.momentum < 1:
            raise UserError(f"momentum must be in [0, 1), got {self.momentum:g}")

    @property
    def grid(self) -> tuple[tuple[float, float], ...]:
        """Learning rate and weight decay of every head, the most cautious first."""
        return tuple(product(sorted(self.lrs), sorted(self.weight_decays, reverse=True)))


class LinearHeads:
    """G linear classifiers side by side."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias = weight, bias  # [G, C, D] and [G, C]

    def logits(self, values: Float32Array) -> Float32Array:
        """Logits [G, N, C] of features [N, D]."""
        logits: Float32Array = self(_tensor(values, self.weight.device)).cpu().numpy()
        return logits

    def __call__(self, values: Tensor) -> Tensor:
        """Logits [G, B, C] of features [B, D]."""
        heads, classes, dimensions = self.weight.shape
        together = values @ self.weight.view(heads * classes, dimensions).T  # one product, [B, G * C]
        return together.view(len(values), heads, classes).transpose(0, 1) + self.bias[:, None]


def fit_linear(config: Linear, task: Task, *, seed: int = 0, device: str = "cpu", advance: Advance = unheard) -> Fitted:
    """Logits of the test clips from the head that was best on the held-out part, trained again on all clips.

    Where nothing is held out, it is the middle of the grid. A class without a training clip is no answer (-inf).

    Args:
        config: the grid.
        task: with scaled features.
        seed: of the order of clips.
        device: where the heads are trained.
        advance: called with every step done; there are `num_steps`.

    Raises:
        UserError: the head diverges at every learning rate.
    """
    grid, accuracies = config.grid, None
    chosen = len(grid) // 2
    if task.has_held:
        held = task.held
        heads = train_heads(config, grid, task.fit, task.num_classes, seed=seed, device=device, advance=advance)
        accuracies = tuple(finite_percent_right(scores, held.labels) for scores in heads.logits(held.values))
        chosen = best(accuracies)
    own = grid[chosen : chosen + 1]
    heads = train_heads(config, own, task.train, task.num_classes, seed=seed, device=device, advance=advance)
    scores = heads.logits(task.test)[0]
    if not np.isfinite(scores).all():
        raise UserError(f"the linear head diverges at a learning rate of {grid[chosen][0]:g}: choose a lower one")
    return Fitted(
        scores=without_unseen(scores, task.train.labels),
        choices=choices(tuple(f"lr={lr:g} wd={decay:g}" for lr, decay in grid), accuracies, chosen),
        notes=_notes(config, accuracies, chosen),
    )


def _notes(config: Linear, accuracies: tuple[float, ...] | None, chosen: int) -> tuple[str, ...]:
    if accuracies is None:
        return ()
    decays = len(config.weight_decays)  # heads of one learning rate, which follow each other in the grid
    by_rate = [max(accuracies[first : first + decays]) for first in range(0, len(accuracies), decays)]
    if not at_the_end(by_rate, chosen // decays):
        return ()
    return (f"the linear head chose lr={config.grid[chosen][0]:g}, an end of its grid",)


def num_steps(config: Linear, task: Task) -> int:
    """How many steps `fit_linear` makes."""
    return config.steps_of(task)


def train_heads(
    config: Linear,
    grid: tuple[tuple[float, float], ...],
    train: LabelledFeatures,
    num_classes: int,
    *,
    seed: int,
    device: str = "cpu",
    advance: Advance = unheard,
) -> LinearHeads:
    """One head for each setting of `grid`, all on the same batches, trained to the end of the cosine.

    Args:
        config: epochs, batch size and momentum.
        grid: learning rate and weight decay of each head.
        train: the clips, [N, D].
        num_classes: C.
        seed: of the order of clips.
        device: where the heads are trained.
        advance: called with every step done.
    """
    values, labels = _tensor(train.values, device), torch.from_numpy(train.labels).to(device)
    clips, dimensions = values.shape
    weight = torch.zeros(len(grid), num_classes, dimensions, device=device)
    bias = torch.zeros(len(grid), num_classes, device=device)
    heads = LinearHeads(weight, bias)
    lr = torch.tensor([lr for lr, _ in grid], device=device)[:, None]
    decay = torch.tensor([decay for _, decay in grid], device=device)[:, None, None]
    weight_speed, bias_speed = torch.zeros_like(weight), torch.zeros_like(bias)
    order = torch.Generator().manual_seed(seed)
    batches = math.ceil(clips / config.batch_size)
    for step in range(config.steps(clips)):
        if step % batches == 0:
            epoch = torch.randperm(clips, generator=order).to(device)
        rows = epoch[step % batches * config.batch_size :][: config.batch_size]
        error = heads(values[rows]).softmax(dim=2)  # [G, B, C]
        error[:, torch.arange(len(rows), device=device), labels[rows]] -= 1
        error /= len(rows)  # gradient of the mean cross-entropy by the logits
        weight_speed.mul_(config.momentum).add_(error.transpose(1, 2) @ values[rows] + decay * weight)
        bias_speed.mul_(config.momentum).add_(error.sum(dim=1))
        rate = lr * (1 + math.cos(math.pi * step / config.steps(clips))) / 2
        weight.sub_(rate[..., None] * weight_speed)
        bias.sub_(rate * bias_speed)
        advance(1)
    return heads


def _tensor(values: Float32Array, device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)
