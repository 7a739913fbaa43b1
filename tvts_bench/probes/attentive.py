"""An attentive probe: a learned query reads the patch tokens by cross-attention (timm's), then a linear classifier.

For backbones whose classes can be read from their tokens but not from one vector. Trained with AdamW and a cosine.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.errors import UserError
from tvts_bench.probes.base import (
    Advance,
    Fitted,
    Float32Array,
    GradientTrained,
    LabelledFeatures,
    Task,
    best,
    choices,
    finite_percent_right,
    unheard,
    without_unseen,
)

from timm.layers.attention_pool import AttentionPoolLatent  # isort: skip

HEADS = (12, 8, 6, 4, 3, 2, 1)  # of attention: the first that divides the width
AT_ONCE = 256  # clips scored together


@dataclass(frozen=True, kw_only=True)
class Attentive(GradientTrained):
    """The head, and how it is trained."""

    lrs: tuple[float, ...] = (3e-4, 1e-3)  # at the start, for a batch of `batch_size`
    weight_decay: float = 0.05
    epochs: int = 20
    batch_size: int = 64  # clips; all of them where there are fewer

    def __post_init__(self) -> None:
        if not self.lrs or min(self.lrs) <= 0 or list(self.lrs) != sorted(set(self.lrs)):
            raise UserError(f"lrs must be positive and increasing, got {list(self.lrs)}")
        if not self.weight_decay >= 0:
            raise UserError(f"weight_decay must not be negative, got {self.weight_decay}")
        self.refuse_no_epochs()


class AttentiveHead(nn.Module):
    """From tokens [B, N, D] to logits [B, C]. Initialised from a seed; global random state is put back."""

    def __init__(self, width: int, num_classes: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # timm's initialisation draws from the global generator
            torch.manual_seed(seed)
            self.norm = nn.LayerNorm(width)
            self.pool = AttentionPoolLatent(width, num_heads=next(count for count in HEADS if width % count == 0))
            self.classifier = nn.Linear(width, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, C] of tokens [B, N, D]."""
        return self.classifier(self.pool(self.norm(tokens)))  # type: ignore[no-any-return]


def fit_attentive(
    config: Attentive, task: Task, *, seed: int = 0, device: str = "cpu", advance: Advance = unheard
) -> Fitted:
    """Logits of the test clips from the rate that was best on the held-out part, trained again on all clips.

    Where nothing is held out, it is the lowest. A class without a training clip is no answer (-inf).

    Args:
        config: the head.
        task: with tokens, [N, tokens, D].
        seed: of the weights and the order of clips.
        device: where the head is trained.
        advance: called with every step done; there are `num_steps`.

    Raises:
        UserError: the head diverges at every learning rate.
    """

    def scores_of(train: LabelledFeatures, lr: float, tokens: Float32Array) -> Float32Array:
        head = _train(config, train, task.num_classes, lr=lr, seed=seed, device=device, advance=advance)
        return _logits(head, tokens, device)

    chosen, accuracies = 0, None
    if task.has_held:
        fit, held = task.fit, task.held
        tried = (scores_of(fit, lr, held.values) for lr in config.lrs)
        accuracies = tuple(finite_percent_right(scores, held.labels) for scores in tried)
        chosen = best(accuracies)
    lr = config.lrs[chosen]
    scores = scores_of(task.train, lr, task.test)
    if not np.isfinite(scores).all():
        raise UserError(f"the attentive head diverges at a learning rate of {lr:g}: choose a lower one")
    return Fitted(
        scores=without_unseen(scores, task.train.labels),
        choices=choices(tuple(f"lr={lr:g}" for lr in config.lrs), accuracies, chosen),
    )


def num_steps(config: Attentive, task: Task) -> int:
    """How many steps `fit_attentive` makes."""
    return config.steps_of(task, len(config.lrs))


def _train(
    config: Attentive,
    train: LabelledFeatures,
    num_classes: int,
    *,
    lr: float,
    seed: int,
    device: str,
    advance: Advance,
) -> AttentiveHead:
    tokens, labels = torch.from_numpy(train.values), torch.from_numpy(train.labels)
    head = AttentiveHead(tokens.shape[2], num_classes, seed).to(device)
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=config.weight_decay)
    order, step, steps = torch.Generator().manual_seed(seed), 0, config.steps(len(labels))
    for _ in range(config.epochs):
        for rows in torch.randperm(len(labels), generator=order).split(config.batch_size):
            for group in optimizer.param_groups:
                group["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
            optimizer.zero_grad()
            F.cross_entropy(head(tokens[rows].to(device)), labels[rows].to(device)).backward()
            optimizer.step()
            step += 1
            advance(1)
    return head


@torch.inference_mode()
def _logits(head: AttentiveHead, tokens: Float32Array, device: str) -> Float32Array:
    """Logits [N, C] of tokens [N, tokens, D]."""
    parts = torch.from_numpy(np.ascontiguousarray(tokens)).split(AT_ONCE)
    logits: Float32Array = torch.cat([head(part.to(device)) for part in parts]).cpu().numpy()
    return logits
