"""The order of samples: a pure function of seed and step for any number of ranks."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.data.mixing import Mixture, Share, described, in_order
from tvts_bench.errors import UserError

SHARES = st.lists(
    st.builds(
        Share,
        name=st.just("a"),
        size=st.integers(24, 60),
        batch_size=st.sampled_from([2, 4, 12, 24]),
        weight=st.sampled_from([0.5, 1.0, 2.0, 3.7]),
    ),
    min_size=1,
    max_size=3,
).map(tuple)


def one(size: int, batch_size: int, seed: int = 0) -> Mixture:
    return Mixture(shares=(Share(name="a", size=size, batch_size=batch_size),), seed=seed)


def test_an_epoch_takes_every_sample_once_and_drops_the_rest() -> None:
    mixture = one(10, 3)
    epochs = [[draw.index for step in range(e * 3, e * 3 + 3) for draw in mixture.draws(step)] for e in range(40)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 40  # each a fresh permutation
    left = Counter(i for epoch in epochs for i in set(range(10)) - set(epoch))
    assert len(left) > 6  # another sample is left out each time


@given(shares=SHARES, seed=st.integers(0, 3), step=st.integers(0, 500))
def test_ranks_together_make_the_batch_of_one(shares: tuple[Share, ...], seed: int, step: int) -> None:
    mixture = Mixture(shares=shares, seed=seed)
    whole = mixture.draws(step)
    assert Mixture(shares=shares, seed=seed).draws(step) == whole
    assert sum((mixture.draws(step, rank, 2) for rank in range(2)), ()) == whole
    assert len({draw.index for draw in whole}) == len(whole) == shares[whole[0].source].batch_size


@settings(max_examples=30)
@given(shares=SHARES)
def test_steps_follow_the_weights_and_turns_count_up(shares: tuple[Share, ...]) -> None:
    mixture = Mixture(shares=shares)
    total = sum(share.weight for share in shares)
    taken: Counter[int] = Counter()
    for step in range(300):
        source = mixture.source_of(step)
        assert mixture.turn_of(step) == taken[source]
        taken[source] += 1
    for source, share in enumerate(shares):
        assert abs(taken[source] / 300 - share.weight / total) < 0.03


def test_sources_alternate_evenly() -> None:
    shares = (Share(name="a", size=9, batch_size=3, weight=2), Share(name="b", size=9, batch_size=3, weight=1))
    assert [Mixture(shares=shares).source_of(step) for step in range(6)] == [0, 1, 0, 0, 1, 0]


def test_a_new_seed_is_another_order_and_other_choices() -> None:
    assert one(100, 50, seed=0).draws(0) != one(100, 50, seed=1).draws(0)
    draws = one(100, 50).draws(0)
    assert len({draw.generator().random() for draw in draws}) == 50
    assert len({draw.seed for draw in draws}) == 50
    assert all(0 <= draw.seed < 2**63 for draw in draws)


def test_the_same_sample_is_cut_otherwise_in_another_epoch() -> None:
    mixture = one(4, 4)
    seen = {(draw.index, draw.generator().random()) for step in range(10) for draw in mixture.draws(step)}
    assert len(seen) == 40


def test_replacements_are_deterministic_and_differ() -> None:
    mixture = one(1000, 10)
    draw = mixture.draws(3)[2]
    tried = [mixture.replacement(draw, attempt) for attempt in range(1, 10)]
    assert tried == [one(1000, 10).replacement(draw, attempt) for attempt in range(1, 10)]
    assert len(set(tried)) > 5
    assert draw.generator(1).random() != draw.generator(0).random()


def test_validation_goes_through_once_in_order() -> None:
    batches = in_order(0, 7, 3)
    assert [[draw.index for draw in batch] for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches == in_order(0, 7, 3)


def test_the_order_is_pinned() -> None:
    """A change here changes what a resumed run trains on."""
    mixture = one(12, 4, seed=7)
    assert [draw.index for draw in mixture.draws(0)] == [7, 10, 6, 11]


def test_a_source_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(UserError, match="web has 5 samples, fewer than one batch of 6"):
        Mixture(shares=(Share(name="web", size=5, batch_size=6),))


def test_a_batch_that_ranks_cannot_share_is_refused() -> None:
    with pytest.raises(UserError, match="batch of 4 of a cannot be divided among 3 processes"):
        one(8, 4).draws(0, 0, 3)


def test_what_is_left_over_is_said() -> None:
    assert "3 batches of 3 an epoch (the 1 left over" in next(described(one(10, 3)))
