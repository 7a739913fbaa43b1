"""Features of classes that lie apart, more or less."""

import numpy as np

from tvts_bench.probes.base import HeldOut, LabelledFeatures, Task, hold_out

NOTHING_HELD = np.empty(0, dtype=np.int64)


def clouds(
    *, classes: int = 5, clips: int = 60, dimensions: int = 12, noise: float = 1.0, held: float = 0.2, seed: int = 0
) -> tuple[Task, np.ndarray]:
    """A task of Gaussian clouds around unit-spread centres, and the labels of its test clips (as many as in train)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(classes, dimensions))
    labels = np.arange(2 * classes * clips) % classes
    values = (centres[labels] + noise * rng.normal(size=(len(labels), dimensions))).astype(np.float32)
    half = len(labels) // 2
    train = LabelledFeatures(values=values[:half], labels=labels[:half])
    parts = hold_out(train.labels, [None] * half, held, seed) if held else nothing_held(half)
    return Task(train=train, parts=parts, test=values[half:], num_classes=classes), labels[half:]


def nothing_held(clips: int) -> HeldOut:
    """All clips to train on, none to choose by."""
    return HeldOut(fit=np.arange(clips), held=NOTHING_HELD)
