"""Which clips a step is made of, from seed and step alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvts_bench.errors import UserError
from tvts_bench.training.sampler import ClipSampler

TEN = ClipSampler(size=10, batch_size=4, seed=0)


def indices(order: ClipSampler, step: int, rank: int = 0, world_size: int = 1) -> list[int]:
    return [draw.index for draw in order.draws(step, rank, world_size)]


def test_an_epoch_goes_through_every_clip_at_most_once_and_the_rest_waits() -> None:
    assert TEN.steps_per_epoch == 2
    epochs = [indices(TEN, 2 * epoch) + indices(TEN, 2 * epoch + 1) for epoch in range(40)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert {index for epoch in epochs for index in epoch} == set(range(10))
    assert len({tuple(epoch) for epoch in epochs}) == 40


def test_the_same_on_every_machine() -> None:
    assert indices(TEN, 0) == [9, 1, 3, 8]
    assert TEN.draws(0)[0].seed == 1936201609458564146
    assert indices(ClipSampler(size=10, batch_size=4, seed=1), 0) != [9, 1, 3, 8]


@given(
    size=st.integers(1, 60),
    parts=st.integers(1, 4),
    part=st.integers(1, 5),
    step=st.integers(0, 1000),
    seed=st.integers(0, 2**40),
)
def test_ranks_divide_the_batch_that_one_process_would_make(
    size: int, parts: int, part: int, step: int, seed: int
) -> None:
    order = ClipSampler(size=size + parts * part, batch_size=parts * part, seed=seed)
    divided = [draw for rank in range(parts) for draw in order.draws(step, rank, parts)]
    assert tuple(divided) == order.draws(step)


def test_a_clip_is_varied_anew_every_epoch_but_alike_in_batches_of_any_size() -> None:
    def seeds(batch_size: int, epoch: int) -> dict[int, int]:
        order = ClipSampler(size=12, batch_size=batch_size, seed=7)
        first = epoch * order.steps_per_epoch
        steps = range(first, first + order.steps_per_epoch)
        return {draw.index: draw.seed for step in steps for draw in order.draws(step)}

    assert seeds(4, 1) == seeds(6, 1)
    assert not set(seeds(4, 0).values()) & set(seeds(4, 1).values())
    assert len(set(seeds(4, 0).values())) == 12


def test_a_batch_larger_than_the_set_is_refused() -> None:
    with pytest.raises(
        UserError, match="has 10 clips, fewer than one batch of 64; choose a --total-batch of at most 10"
    ):
        ClipSampler(size=10, batch_size=64)
    with pytest.raises(UserError, match="positive, got 0"):
        ClipSampler(size=10, batch_size=0)


def test_a_batch_that_cannot_be_divided_among_processes_is_refused() -> None:
    with pytest.raises(UserError, match=r"4 clips cannot be divided among 3 processes; .* multiple of 3"):
        TEN.draws(0, rank=0, world_size=3)
