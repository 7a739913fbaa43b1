"""The held-out part of a training set, on which hyper-parameters are chosen. The test set has no part in it."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from tvts_bench.probes.base import HeldOut, IntArray


def hold_out(labels: IntArray, groups: Sequence[str | None], share: float, seed: int) -> HeldOut:
    """About `share` (0..1) of every class, drawn from `seed`; clips of one group are all on one side.

    Every class keeps a clip to train on, so a class that is one clip or one group holds nothing out. Never more than
    `share` (rounded, at least one clip) of a class, except that one group may be up to half of it. scikit-learn's
    splitters promise neither for rare classes.

    Args:
        labels: class of each clip, [N].
        groups: source of each clip; None is a group of its own.
        share: of each class.
        seed: of the draw.
    """
    members: dict[str | int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[row if group is None else group].append(row)  # numbers and names cannot be confused
    sizes = Counter(labels.tolist())
    wanted = {label: max(1, round(share * size)) for label, size in sizes.items()}
    left = Counter(sizes)
    held: list[int] = []
    keys = list(members)

    def room(label: int) -> int:
        untouched = left[label] == sizes[label]
        return max(wanted[label], sizes[label] // 2 if untouched else 0)

    for index in np.random.default_rng(seed).permutation(len(keys)):
        rows = members[keys[index]]
        counts = Counter(labels[rows].tolist())
        if all(count <= room(label) and count < left[label] for label, count in counts.items()):
            held.extend(rows)
            for label, count in counts.items():
                wanted[label] -= count
                left[label] -= count
    taken = np.zeros(len(labels), dtype=np.bool_)
    taken[held] = True
    return HeldOut(fit=np.flatnonzero(~taken), held=np.flatnonzero(taken))


def best(accuracies: Sequence[float]) -> int:
    """Index of the highest accuracy; of equal ones the first, so grids begin with the most cautious setting."""
    return int(np.argmax(accuracies))


def at_the_end(accuracies: Sequence[float], chosen: int) -> bool:
    """Whether the best of an ordered grid is its first or last, and strictly so: a longer grid might hold a better."""
    if len(accuracies) < 3 or chosen not in (0, len(accuracies) - 1):
        return False
    neighbour = accuracies[1] if chosen == 0 else accuracies[-2]
    return accuracies[chosen] > neighbour
