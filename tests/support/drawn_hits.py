"""Hits and misses of models drawn at random."""

import numpy as np
from numpy.typing import NDArray


def drawn(rng: np.random.Generator, clips: int, *rates: float, shared: float = 0.5) -> NDArray[np.bool_]:
    """Hits [models, clips] with these rates; `shared` of the clips are equally hard for all."""
    same = rng.random(clips) < shared
    common, own = rng.random(clips), rng.random((len(rates), clips))
    return np.where(same, common, own) < np.array(rates)[:, None]
