"""One step of a classifier: ranks and micro-batches take that of the whole batch, whatever is drawn."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.support.supervised_world import (
    RECIPE,
    STEADY,
    loader_of,
    settings_of,
    tiny_backbone,
)
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.distributed import Rank
from tvts_bench.errors import UserError
from tvts_bench.training.classifier import Classifier, ClipDropPath, backward
from tvts_bench.training.recipe import without_augmentation


def gradient(model: Classifier) -> dict[str, Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def test_micro_batches_give_the_gradient_of_the_whole_batch(records: Sequence[VideoRecord]) -> None:
    taken = []
    for accumulate in (1, 2):
        recipe = replace(STEADY, accumulate=accumulate)
        model = Classifier(tiny_backbone(), 3, frozen=False)
        loss = backward(model, next(loader_of(records, recipe).batches(0, 1)), 0, settings_of(recipe))
        taken.append((gradient(model), loss))
    assert float(taken[1][1]) == pytest.approx(float(taken[0][1]), rel=1e-6)
    for name, grad in taken[0][0].items():
        torch.testing.assert_close(taken[1][0][name], grad, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize(
    ("world_size", "accumulate"),
    [(1, 2), (2, 1), (3, 1), (2, 3)],
    ids=["micro-batches", "two ranks", "three", "ranks and micro-batches"],
)
def test_nothing_that_is_drawn_depends_on_how_a_batch_is_divided(
    records: Sequence[VideoRecord], world_size: int, accumulate: int
) -> None:
    """Mixing, stochastic depth, augmentation: six clips, the pairs of which two or three ranks cannot share evenly."""
    whole = replace(RECIPE, batch_size=6)
    model = Classifier(tiny_backbone(), 3, frozen=False, drop_path=0.5)
    loss = backward(model, next(loader_of(records, whole).batches(1, 2)), 1, settings_of(whole))
    expected = gradient(model)
    divided = replace(whole, accumulate=accumulate)
    shares: list[dict[str, Tensor]] = []
    ids: list[str] = []
    total = 0.0
    for number in range(world_size):
        rank = Rank(rank=number, world_size=world_size)
        batch = next(loader_of(records, divided, rank).batches(1, 2))
        ids += batch.ids
        model = Classifier(tiny_backbone(), 3, frozen=False, drop_path=0.5)
        total += float(backward(model, batch, 1, settings_of(divided, rank))) / world_size
        shares.append(gradient(model))
    assert len(set(ids)) == len(ids) == 6
    assert total == pytest.approx(float(loss), rel=1e-5)
    for name, grad in expected.items():
        mean = torch.stack([share[name] for share in shares]).mean(dim=0)
        torch.testing.assert_close(mean, grad, rtol=1e-4, atol=1e-6, msg=name)


def test_clips_that_are_drawn_together_differ_in_their_stochastic_depth(records: Sequence[VideoRecord]) -> None:
    """A draw belongs to a clip and a branch: of equal clips in one batch some lose it, in another epoch others."""
    depth = ClipDropPath(0.5, number=3)
    kept = {}
    for epoch in range(2):
        depth.seeds = [1000 * epoch + clip for clip in range(64)]
        kept[epoch] = depth(torch.ones(64, 2)).bool()
    assert 16 < int(kept[0][:, 0].sum()) < 48
    assert torch.equal(kept[0][:, 0], kept[0][:, 1])
    assert not torch.equal(kept[0], kept[1])
    other = ClipDropPath(0.5, number=4)
    other.seeds = range(64)
    assert not torch.equal(other(torch.ones(64, 2)).bool(), kept[0])


def test_a_clip_that_is_missing_has_no_gradient_and_gives_its_share_to_none(records: Sequence[VideoRecord]) -> None:
    recipe = without_augmentation(STEADY)
    batch = next(loader_of(records, recipe).batches(0, 1))
    three = replace(
        batch,
        clips=batch.clips[:3],
        labels=batch.labels[:3],
        ids=batch.ids[:3],
        positions=(0, 1, 2),
        seeds=batch.seeds[:3],
    )
    model = Classifier(tiny_backbone(), 3, frozen=False)
    loss = backward(model, three, 0, settings_of(recipe))
    # A head of almost zeros gives each of three classes a third: log 3 a clip, over the four of a full batch.
    assert float(loss) == pytest.approx(3 * np.log(3) / 4, abs=1e-3)
    nothing = replace(batch, clips=batch.clips[:0], labels=batch.labels[:0], ids=(), positions=(), seeds=())
    model = Classifier(tiny_backbone(), 3, frozen=False)
    assert float(backward(model, nothing, 0, settings_of(recipe))) == 0
    assert all(not grad.any() for grad in gradient(model).values())


def test_a_batch_that_cannot_be_divided_is_refused(records: Sequence[VideoRecord]) -> None:
    with pytest.raises(UserError, match="4 clips cannot be divided into 2 processes x 3 micro-batches"):
        settings_of(replace(RECIPE, accumulate=3), Rank(world_size=2))
    with pytest.raises(UserError, match="12 clips, fewer than one batch of 16"):
        loader_of(records, replace(RECIPE, batch_size=16))
