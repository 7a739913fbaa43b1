"""One scale for every dimension."""

import numpy as np
import pytest

from tvts_bench.evaluators.probe_heads import Scaling


def test_training_features_have_mean_0_and_deviation_1() -> None:
    values = (np.random.default_rng(0).normal(size=(500, 3)) * [1, 100, 1e-3] + [0, 1e3, 5]).astype(np.float32)
    scaled = Scaling.of(values)(values)
    assert scaled.mean(axis=0) == pytest.approx(0, abs=1e-2)
    assert scaled.std(axis=0) == pytest.approx(1, abs=1e-2)
    assert scaled.dtype == np.float32


def test_a_dimension_that_is_constant_becomes_zero_and_not_noise() -> None:
    values = np.full((10, 2), 0.1, dtype=np.float32)
    values[:, 1] = np.arange(10)
    scaled = Scaling.of(values)(values)
    assert np.abs(scaled[:, 0]).max() < 1e-6
    assert scaled[:, 1].std() == pytest.approx(1)
