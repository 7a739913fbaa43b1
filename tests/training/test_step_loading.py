"""Errors that cross from a loading process: a user's as the sentence it was, a lost process as one of its own."""

import os
import signal
from pathlib import Path

import pytest
from torch.utils.data import Dataset

from tvts_bench.training.dataloader import WorkerError, load_in_order, refuse_lost_worker
from tvts_bench.video.packet_index import VideoDecodeError


class Numbers(Dataset[int]):
    """Items are their numbers, but 3 cannot be read and 5 ends the process that asks for it."""

    def __getitem__(self, number: int) -> int:
        if number == 3:
            raise VideoDecodeError(Path("3.mp4"), "no such number")
        if number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


@pytest.mark.parametrize("workers", [0, 1])
def test_a_users_error_arrives_as_it_was_raised(workers: int) -> None:
    made = load_in_order(Numbers(), range(1, 4), workers)
    assert [next(made), next(made)] == [1, 2]
    with pytest.raises(VideoDecodeError) as failed:
        next(made)
    assert str(failed.value) == "cannot read 3.mp4: no such number"


def test_a_process_that_was_killed_is_one_sentence() -> None:
    with pytest.raises(RuntimeError) as raised:
        list(load_in_order(Numbers(), range(5, 6), 1))
    with pytest.raises(WorkerError, match=r"a loading process was ended from outside .*use fewer workers") as said:
        refuse_lost_worker(raised.value)
    assert "\n" not in str(said.value)
    refuse_lost_worker(RuntimeError("a bug"))  # is left to show itself
