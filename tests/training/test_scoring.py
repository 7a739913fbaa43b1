"""Scores of every view of every clip, and their averages."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.supervised_world import tiny_backbone, write_records
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.runtime import Runtime
from tvts_bench.training.classifier import Classifier
from tvts_bench.training.scoring import Scorer, average_views
from tvts_bench.video.clips import load_clip
from tvts_bench.video.transforms import normalise

SPEC = replace(tiny_backbone().clip_spec, temporal_views=2, spatial_views=3, short_side=40)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[VideoRecord, ...]:
    return write_records(tmp_path_factory.mktemp("videos"), 5)


def model_with_a_large_head() -> Classifier:
    model = Classifier(tiny_backbone(), 3, frozen=True)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    return model


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_view_is_scored_whatever_the_batch(records: Sequence[VideoRecord], batch_size: int) -> None:
    model = model_with_a_large_head()
    scores = Scorer(records, SPEC, "pyav", Runtime(workers=0, batch_size=batch_size)).score(model, "fp32", 3)
    assert scores.ids == tuple(record.id for record in records)
    assert scores.labels.tolist() == [0, 1, 2, 0, 1]
    assert scores.logits.shape == (5, 6, 3)
    assert sum(scores.decoders.values()) == 5
    for record, row in zip(records, scores.logits, strict=True):
        pixels = normalise(load_clip(record.path, record.id, SPEC, "pyav").pixels, SPEC.mean, SPEC.std)
        np.testing.assert_allclose(row, model.eval()(pixels).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_clip_that_cannot_be_read_is_named_and_the_rest_scored(
    records: Sequence[VideoRecord], tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    listed = [records[0], VideoRecord(id="broken", path=tmp_path / "broken.mp4", label=1), records[2]]
    scores = Scorer(listed, SPEC, "pyav", Runtime(workers=0)).score(model_with_a_large_head(), "fp32", 3)
    assert scores.ids == (records[0].id, records[2].id)
    assert set(scores.failed) == {"broken"}
    only = Scorer(listed[1:2], SPEC, "pyav", Runtime(workers=0)).score(model_with_a_large_head(), "fp32", 3)
    assert only.logits.shape == (0, 6, 3)


def test_a_small_list_is_decoded_once(tmp_path: Path) -> None:
    records = write_records(tmp_path, 3)
    scorer = Scorer(records, SPEC, "pyav", Runtime(workers=0))
    model = model_with_a_large_head().train()
    first = scorer.score(model, "fp32", 3)
    assert model.head.training  # as it was
    for record in records:
        record.path.unlink()
    again = scorer.score(model, "fp32", 3)
    assert np.array_equal(again.logits, first.logits)
    assert again.decoders == first.decoders


def test_views_are_averaged_as_probabilities_or_as_logits() -> None:
    # Two views of one clip and two classes: sure of the first, then undecided.
    logits = np.array([[[np.log(9), 0.0], [0.0, 0.0]]], dtype=np.float32)
    probabilities = np.exp(average_views(logits, "probabilities"))
    np.testing.assert_allclose(probabilities, [[(0.9 + 0.5) / 2, (0.1 + 0.5) / 2]], rtol=1e-6)
    np.testing.assert_allclose(average_views(logits, "logits"), [[np.log(9) / 2, 0.0]], rtol=1e-6)


def test_the_two_averages_can_disagree() -> None:
    """One view is very sure, two are mildly of the other opinion: logits follow the one, probabilities the many."""
    logits = np.array([[[9.0, 0.0], [0.0, 2.0], [0.0, 2.0]]], dtype=np.float32)
    assert average_views(logits, "logits").argmax() == 0
    assert average_views(logits, "probabilities").argmax() == 1
