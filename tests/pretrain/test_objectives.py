"""Losses, accuracies and chance levels against answers by hand and independent computations."""

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pretrain.model.tvts import TVTSOutput
from pretrain.objectives import ordering
from pretrain.objectives.config import ObjectiveConfig
from pretrain.objectives.losses import alignment, chance, check_negatives, step_loss
from pretrain.step import collapsed
from tvts_bench.errors import UserError


def rows(count: int, dim: int, seed: int) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def nce_by_loops(video: np.ndarray, text: np.ndarray, temperature: float) -> float:
    """InfoNCE(v, t) + InfoNCE(t, v) as the paper writes it, with explicit sums."""
    count = len(video)
    similarity = np.empty((count, count))
    for i in range(count):
        for j in range(count):
            cosine = video[i] @ text[j] / math.sqrt(video[i] @ video[i]) / math.sqrt(text[j] @ text[j])
            similarity[i, j] = cosine / temperature
    total = 0.0
    for i in range(count):
        total -= math.log(math.exp(similarity[i, i]) / sum(math.exp(similarity[i, j]) for j in range(count))) / count
        total -= math.log(math.exp(similarity[i, i]) / sum(math.exp(similarity[j, i]) for j in range(count))) / count
    return total


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_base_loss_is_the_papers(temperature: float) -> None:
    video, text = rows(5, 7, 0), rows(5, 7, 1)
    result = alignment(video, text, (video, text), 0, temperature)
    expected = nce_by_loops(video.double().numpy(), text.double().numpy(), temperature)
    assert float(result.loss) == pytest.approx(expected, rel=1e-5)


def test_base_loss_of_parts_averages_to_that_of_the_whole() -> None:
    video, text = rows(6, 7, 0), rows(6, 7, 1)
    whole = alignment(video, text, (video, text), 0, 0.05)
    parts = [alignment(video[i : i + 2], text[i : i + 2], (video, text), i, 0.05) for i in (0, 2, 4)]
    assert torch.stack([part.loss for part in parts]).mean() == pytest.approx(float(whole.loss), rel=1e-6)
    assert torch.stack([part.accuracy for part in parts]).mean() == pytest.approx(float(whole.accuracy), rel=1e-6)


def test_alignment_accuracy_counts_both_directions_and_no_ties() -> None:
    video = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    text = torch.tensor([[1.0, 0.1], [1.0, 0.2]])  # both texts are nearest to video 0; each video has its own text
    assert float(alignment(video, text, (video, text), 0, 0.05).accuracy) == 75
    same = torch.ones(2, 2)
    assert float(alignment(same, same, (same, same), 0, 0.05).accuracy) == 0


def test_k_way_by_hand() -> None:
    """Three items: the first sure and right, the second undecided, the third right by a factor of two."""
    log = math.log
    logits = torch.tensor([[[9.0, -9.0, -9.0], [0.0, 0.0, 0.0], [0.0, log(1), log(2)]]])
    result = ordering.k_way(logits)
    assert float(result.loss) == pytest.approx((0 + log(3) + log(2)) / 3, abs=1e-6)
    # argmax of the undecided row is position 0, so 2 of 3; the order 0 1 2 is twice as probable as 0 2 1
    assert float(result.accuracies["position_accuracy"]) == pytest.approx(200 / 3)
    assert float(result.accuracies["order_accuracy"]) == 100


def test_k_way_order_is_the_most_probable_assignment_and_equal_items_are_not_sorted() -> None:
    logits = torch.zeros(2, 3, 3)
    logits[0] += torch.tensor([0.3, 0.2, 0.1])  # all items alike: every order is as probable
    logits[1] = torch.tensor([[2.0, 1.9, 0.0], [2.0, 1.8, 0.0], [0.0, 0.0, 1.0]])  # 1 0 2 is worth 0.1 less
    logits[1, 1, 0] = 2.3  # now 1 0 2 wins: 2.3 + 1.9 against 2.0 + 1.8
    assert ordering.k_way(logits).accuracies["order_accuracy"].tolist() == [0, 0]
    logits[1, 1, 0] = 1.8
    assert ordering.k_way(logits).accuracies["order_accuracy"].tolist() == [0, 100]


def test_pairwise_by_hand() -> None:
    """Pairs (0,1) right by log 3, (0,2) undecided, (1,2) wrong by log 3: probabilities 3/4, 1/2, 1/4."""
    log3 = math.log(3)
    upper = torch.tensor([[[0.0, log3, 0.0], [0.0, 0.0, -log3], [0.0, 0.0, 0.0]]])
    result = ordering.pairwise(upper - upper.mT)
    assert float(result.loss) == pytest.approx(-(math.log(3 / 4) + math.log(1 / 2) + math.log(1 / 4)) / 3, rel=1e-5)
    assert float(result.accuracies["pair_accuracy"]) == pytest.approx(100 / 3)
    assert float(result.accuracies["order_accuracy"]) == 0
    right = torch.ones(1, 3, 3).triu(1) - torch.ones(1, 3, 3).tril(-1)
    assert {name: float(value) for name, value in ordering.pairwise(right).accuracies.items()} == {
        "pair_accuracy": 100,
        "order_accuracy": 100,
    }


def test_factorial_by_hand() -> None:
    """K = 2: class 0 is the order (0, 1), class 1 is (1, 0)."""
    logits = torch.tensor([[math.log(3), 0.0], [math.log(3), 0.0]])
    result = ordering.factorial(logits, torch.tensor([[0, 1], [1, 0]]))
    assert result.loss.tolist() == pytest.approx([-math.log(3 / 4), -math.log(1 / 4)])
    assert result.accuracies["order_accuracy"].tolist() == [100, 0]


@pytest.mark.parametrize("size", range(2, 7))
def test_every_order_has_its_own_label(size: int) -> None:
    orders = torch.tensor(list(permutations(range(size))))
    assert ordering.order_index(orders).tolist() == list(range(math.factorial(size)))


@given(st.integers(2, 6).flatmap(lambda size: st.permutations(range(size))))
def test_label_is_the_rank_among_all_orders(order: list[int]) -> None:
    label = int(ordering.order_index(torch.tensor([order]))[0])
    assert label == sorted(permutations(range(len(order)))).index(tuple(order))


def test_random_orders_are_uniform_and_follow_the_generator() -> None:
    orders = ordering.random_orders(6000, 3, torch.Generator().manual_seed(0))
    assert torch.equal(orders.sort(dim=1).values, torch.arange(3).expand(6000, 3))
    counts = ordering.order_index(orders).bincount(minlength=6)  # expected 1000, deviation 29
    assert (counts - 1000).abs().max() < 150
    assert torch.equal(orders, ordering.random_orders(6000, 3, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_guessing_reaches_the_stated_chance(size: int) -> None:
    """Random logits, 20,000 samples: within 4 standard deviations of 50 %, or 1.5 points."""
    generator = torch.Generator().manual_seed(size)
    noise = torch.randn(20_000, size, size, generator=generator)
    orders = ordering.random_orders(20_000, size, generator)
    found = {
        "k_way": ordering.k_way(noise),
        "pairwise": ordering.pairwise(noise - noise.mT),
        "factorial": ordering.factorial(torch.randn(20_000, math.factorial(size), generator=generator), orders),
    }
    for modelling, result in found.items():
        means = {name: float(value.mean()) for name, value in result.accuracies.items()}
        assert means == pytest.approx(ordering.chance(modelling, size), abs=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("modelling", "name", "least"), [("k_way", "position", 40), ("pairwise", "pair", 60), ("factorial", "order", 23.33)]
)
def test_sorting_is_learned_from_a_fifth_of_the_way_on(modelling: Any, name: str, least: float) -> None:
    def remark(percent: float) -> str | None:
        return ordering.not_learned(modelling, 4, {"alignment_accuracy": 90.0, f"{name}_accuracy": percent})

    assert remark(least + 0.1) is None
    assert f"sorting was not learned: {name}_accuracy {least - 0.1:.1f} % on held-out" in str(remark(least - 0.1))
    assert ordering.not_learned(modelling, 4, {"alignment_accuracy": 90.0}) is None, "nobody looked"


def test_chance_levels_by_hand() -> None:
    config = ObjectiveConfig(segments=4)
    expected = {"alignment_accuracy": 0.5, "position_accuracy": 25.0, "order_accuracy": 100 / 24}
    assert chance(config, global_batch=200, items=4) == pytest.approx(expected)
    assert ordering.chance("pairwise", 3) == pytest.approx({"pair_accuracy": 50, "order_accuracy": 100 / 6})
    assert ordering.chance("factorial", 5) == pytest.approx({"order_accuracy": 100 / 120})
    only = chance(ObjectiveConfig(align=False, sort="pairwise"), global_batch=8, items=4)
    assert set(only) == {"pair_accuracy", "order_accuracy"}


def output(samples: int, logits: Tensor | None = None) -> TVTSOutput:
    return TVTSOutput(video=rows(samples, 5, 0), text=rows(samples, 5, 1), sort_logits=logits, order=None)


def test_total_is_base_plus_lambda_sort_and_the_papers_balance_divides_base_by_its_ranks() -> None:
    logits, segments = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.full((3,), 4)
    stated = step_loss(output(3, logits), segments, ObjectiveConfig(weight=3.0))
    paper = step_loss(output(3, logits), segments, ObjectiveConfig(weight=3.0, balance="paper", paper_ranks=8))
    assert "base" in stated
    assert "sort" in stated
    assert float(stated["loss"]) == pytest.approx(float(stated["base"]) + 3 * float(stated["sort"]))
    assert float(paper["loss"]) == pytest.approx(float(stated["base"]) / 8 + 3 * float(stated["sort"]))
    assert set(stated) - {"loss", "base", "sort", "sorted_samples"} == set(chance(ObjectiveConfig(), 3, 4))


def test_captions_take_no_part_in_sorting() -> None:
    logits = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(0))
    mixed = step_loss(output(4, logits), torch.tensor([4, 1, 4, 1]), ObjectiveConfig())
    alone = ordering.k_way(logits[[0, 2]])
    assert "sort" in mixed
    assert float(mixed["sort"]) == pytest.approx(float(alone.loss.mean()))
    assert float(mixed["position_accuracy"]) == pytest.approx(float(alone.accuracies["position_accuracy"].mean()))
    assert float(mixed["sorted_samples"]) == 2


def test_a_batch_of_captions_alone_still_reaches_the_sorter_with_a_zero_gradient() -> None:
    logits = torch.randn(2, 4, 4, requires_grad=True)
    result = step_loss(output(2, logits), torch.tensor([1, 1]), ObjectiveConfig())
    result["loss"].backward()
    assert "sort" in result
    assert float(result["sort"]) == 0
    assert float(result["sorted_samples"]) == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_losses_are_single_precision_under_autocast() -> None:
    logits, segments = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.full((3,), 4)
    plain = step_loss(output(3, logits), segments, ObjectiveConfig())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = step_loss(output(3, logits), segments, ObjectiveConfig())
    assert cast["loss"].dtype == torch.float32
    assert torch.equal(cast["loss"], plain["loss"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"segments": 7}, r"segments must be in \[2, 6\], got 7"),
        ({"temperature": 0.0}, "got 0.0"),
        ({"weight": -1.0}, "got -1.0"),
        ({"sort": "kway"}, "'kway'"),
        ({"target": "vcop", "sort": "k_way"}, "sort=factorial, got sort=k_way"),
        ({"target": "merlot"}, "sort=pairwise, got sort=k_way"),
        ({"align": False, "sort": "none"}, "nothing to learn"),
        ({"paper_ranks": 0}, "got 0"),
    ],
)
def test_nonsense_objectives_are_refused_with_the_value(options: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        ObjectiveConfig(**options)


def test_without_sorting_the_target_has_no_effect() -> None:
    assert not ObjectiveConfig(target="merlot", sort="none").sorts_video


def test_collapse_is_told_from_spread_and_from_shared_direction() -> None:
    spread = rows(8, 16, 0)
    assert not collapsed(spread)
    assert collapsed(torch.zeros(8, 16))
    assert collapsed(torch.ones(8, 16) * torch.arange(1, 9)[:, None])  # lengths differ, directions do not
    assert collapsed(torch.ones(8, 16) + 0.001 * spread)
    assert not collapsed(torch.ones(8, 16) + 0.2 * spread)
    assert not collapsed(spread[:1])
    assert not collapsed(torch.full((4, 3), torch.nan))


def test_a_batch_that_teaches_nothing_is_refused() -> None:
    check_negatives(2, align=True)
    check_negatives(1, align=False)
    with pytest.raises(UserError, match="global batch of 1"):
        check_negatives(1, align=True)


def test_the_temperature_falls_geometrically_and_then_stays() -> None:
    config = ObjectiveConfig(temperature=0.05, first_temperature=0.5, anneal=0.4)
    found = [config.at(share).temperature for share in (0.0, 0.2, 0.4, 0.7, 1.0)]
    assert found == pytest.approx([0.5, (0.05 * 0.5) ** 0.5, 0.05, 0.05, 0.05])
    assert ObjectiveConfig().at(0.3) == ObjectiveConfig()
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"first_temperature": 0.01}, "first_temperature must be finite and at least temperature 0.05, got 0.01"),
        ({"first_temperature": math.inf}, "first_temperature must be finite"),
        ({"anneal": 0.0}, r"anneal must be in \(0, 1\], got 0.0"),
    )
    for nonsense, message in wrong:
        with pytest.raises(UserError, match=message):
            ObjectiveConfig(**nonsense)
