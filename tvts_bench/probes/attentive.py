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
from tvts_bench.probes.base import (
    Advance,
    Fitted,
    Float32Array,
    LabelledFeatures,
    ProbeError,
    Task,
    choices,
    percent_right,
    unheard,
    without_unseen,
)
from tvts_bench.probes.selection import best

from timm.layers.attention_pool import AttentionPoolLatent  # isort: skip

HEADS = (12, 8, 6, 4, 3, 2, 1)  # of attention: the first that divides the width
AT_ONCE = 256  # clips asked together


@dataclass(frozen=True, kw_only=True)
class Attentive:
    """The head, and how it is trained."""

    lrs: tuple[float, ...] = (3e-4, 1e-3)  # at the start, for a batch of `batch_size`
    weight_decay: float = 0.05
    epochs: int = 20
    batch_size: int = 64  # clips; all of them where there are fewer

    def __post_init__(self) -> None:
        if not self.lrs or min(self.lrs) <= 0 or list(self.lrs) != sorted(set(self.lrs)):
            raise ProbeError(f"lrs must be positive and increasing, got {list(self.lrs)}")
        if not self.weight_decay >= 0:
            raise ProbeError(f"weight_decay must not be negative, got {self.weight_decay}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ProbeError(f"{name} must be at least 1, got {getattr(self, name)}")

    def steps(self, clips: int) -> int:
        """Updates of a run over so many clips."""
        return self.epochs * math.ceil(clips / self.batch_size)


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
        advance: told of every step done; there are `num_steps`.

    Raises:
        ProbeError: the head diverges at every learning rate.
    """
    chosen, accuracies = 0, None
    if task.has_held:
        fit, held, found = task.fit, task.held, []
        for lr in config.lrs:
            head = _train(config, fit, task.num_classes, lr=lr, seed=seed, device=device, advance=advance)
            said = _logits(head, held.values, device)
            found.append(percent_right(said, held.labels) if np.isfinite(said).all() else 0.0)
        accuracies = tuple(found)
        chosen = best(accuracies)
    lr = config.lrs[chosen]
    head = _train(config, task.train, task.num_classes, lr=lr, seed=seed, device=device, advance=advance)
    scores = _logits(head, task.test, device)
    if not np.isfinite(scores).all():
        raise ProbeError(f"the attentive head diverges at a learning rate of {lr:g}: choose a lower one")
    return Fitted(
        scores=without_unseen(scores, task.train.labels),
        choices=choices(tuple(f"lr={lr:g}" for lr in config.lrs), accuracies, chosen),
    )


def num_steps(config: Attentive, task: Task) -> int:
    """How many steps `fit_attentive` makes."""
    return config.steps(len(task.train)) + (len(config.lrs) * config.steps(len(task.parts.fit)) if task.has_held else 0)


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
