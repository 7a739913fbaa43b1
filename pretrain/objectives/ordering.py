"""L_sort: three ways to ask for an order (the paper's Table 3), each with its loss and its accuracies per sample.

Items reach these functions in their true order for k_way and pairwise, and really shuffled for factorial. That is not
a shortcut: the network gives items no position, so its k_way logits permute with the items and its pairwise logits
are antisymmetric by construction; which item is first can only be read from what is in it. The factorial head reads
slots, so there the order shown must be random.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations

import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.objectives.config import SortModelling

ROUNDING = 1e-4  # nats: an order wins only by more than this, so that equal items never count as sorted


@dataclass(frozen=True, kw_only=True, eq=False)
class Sorting:
    """L_sort of each sample, and how well it was sorted."""

    loss: Tensor  # [B]
    accuracies: dict[str, Tensor]  # name -> [B], percent; `chance` has the same names


def sorting(modelling: SortModelling, logits: Tensor, order: Tensor | None) -> Sorting:
    """Loss and accuracies of `logits` as the head for `modelling` gives them.

    Args:
        modelling: how the order is modelled; not "none".
        logits: [B, K, K] for k_way (item, position), [B, K, K] for pairwise (entry i, j: item i is before item j),
            [B, K!] for factorial; float32 or float64.
        order: int64 [B, K], `order[b, s]` is the true position of the item shown in slot s; only for factorial.
    """
    if modelling == "factorial":
        assert order is not None
        return factorial(logits, order)
    return k_way(logits) if modelling == "k_way" else pairwise(logits)


def k_way(logits: Tensor) -> Sorting:
    """Position of each item among K: cross-entropy, mean over the items. `logits` [B, K, K], items in true order.

    `position_accuracy` counts items whose most probable position is the true one; `order_accuracy` counts samples
    whose true order is the most probable of all K! assignments of items to positions.
    """
    size = logits.shape[1]
    scores = logits.log_softmax(dim=-1)  # [B, K, K]
    right = scores.argmax(dim=-1) == torch.arange(size, device=logits.device)
    orders = _orders(size).to(logits.device)  # [K!, K], the identity first
    items = torch.arange(size, device=logits.device)
    likelihood = scores.detach()[:, items, orders].sum(dim=-1)  # [B, K!]
    sorted_ = (likelihood >= likelihood[:, :1] - ROUNDING).sum(dim=1) == 1  # no other order is as probable
    return Sorting(
        loss=-scores.diagonal(dim1=1, dim2=2).mean(dim=-1),
        accuracies={"position_accuracy": 100 * right.float().mean(dim=-1), "order_accuracy": 100 * sorted_.float()},
    )


def pairwise(logits: Tensor) -> Sorting:
    """Which of two items is first: logistic loss, mean over the K (K - 1) / 2 pairs.

    `logits` [B, K, K] is antisymmetric and items are in true order, so every entry above the diagonal should be
    positive. `order_accuracy` ranks items by the sum of their logits; ties are misses.
    """
    before, after = torch.tensor(list(combinations(range(logits.shape[1]), 2)), device=logits.device).T
    first = logits[:, before, after]  # [B, pairs]
    rank = logits.detach().sum(dim=-1)  # [B, K], highest for the first item
    sorted_ = (rank[:, :-1] > rank[:, 1:] + ROUNDING).all(dim=1)
    return Sorting(
        loss=F.softplus(-first).mean(dim=-1),
        accuracies={"pair_accuracy": 100 * (first > 0).float().mean(dim=-1), "order_accuracy": 100 * sorted_.float()},
    )


def factorial(logits: Tensor, order: Tensor) -> Sorting:
    """Which of the K! orders is shown: one cross-entropy. `logits` [B, K!], `order` [B, K] as in `sorting`."""
    label = order_index(order)
    right = logits.argmax(dim=-1) == label
    loss = F.cross_entropy(logits, label, reduction="none")
    return Sorting(loss=loss, accuracies={"order_accuracy": 100 * right.float()})


def chance(modelling: SortModelling, size: int) -> dict[str, float]:
    """Percent that a guess reaches in each of `sorting`'s accuracies, for `size` items."""
    order = {"order_accuracy": 100 / math.factorial(size)}
    extra = {"k_way": {"position_accuracy": 100 / size}, "pairwise": {"pair_accuracy": 50.0}}
    return extra.get(modelling, {}) | order


def not_learned(modelling: SortModelling, size: int, accuracies: Mapping[str, float]) -> str | None:
    """What to say of a run that has not learned to sort; None of one that has, or whose sorting nobody measured.

    Sorting is learned from a fifth of the way between a guess and everything: 40 % of four segments placed.

    Args:
        modelling: how the order is asked for.
        size: items to be put in order.
        accuracies: percent on held-out data, by the names of `chance`.
    """
    name, guess = next(iter(chance(modelling, size).items()))
    if name not in accuracies or accuracies[name] > guess + (100 - guess) / 5:
        return None
    return f"sorting was not learned: {name} {accuracies[name]:.1f} % on held-out data, a guess reaches {guess:.1f} %"


def order_index(order: Tensor) -> Tensor:
    """Index [B] of each order [B, K] among all K! in lexicographic order (its Lehmer code)."""
    size = order.shape[1]
    smaller_later = (order[:, None, :] < order[:, :, None]).triu(diagonal=1).sum(dim=2)  # [B, K]
    radix = torch.tensor([math.factorial(size - 1 - i) for i in range(size)], device=order.device)
    return (smaller_later * radix).sum(dim=1)


def random_orders(batch: int, size: int, generator: torch.Generator) -> Tensor:
    """Independent, uniform orders.

    Args:
        batch: how many.
        size: K, of each.
        generator: on the CPU.

    Returns:
        int64 [batch, size] on the CPU.
    """
    return torch.rand(batch, size, generator=generator).argsort(dim=1)


@cache
def _orders(size: int) -> Tensor:
    """All orders of `size` items in lexicographic order, int64 [size!, size]."""
    return torch.tensor(list(permutations(range(size))))
