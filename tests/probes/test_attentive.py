"""A head over tokens, on classes that no mean of the tokens tells apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.support.probe_tasks import nothing_held
from tvts_bench.errors import UserError
from tvts_bench.probes.attentive import Attentive, AttentiveHead, fit_attentive, num_steps
from tvts_bench.probes.base import LabelledFeatures, Task, hold_out, percent_right

SHORT = Attentive(lrs=(1e-2,), epochs=12, batch_size=32)


def marked(clips: int, seed: int) -> LabelledFeatures:
    """Clips of 6 tokens: one carries the mark of the class, of equal strength either way, the others are noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(clips) % 2
    tokens = rng.normal(size=(clips, 6, 8)).astype(np.float32)
    place = rng.integers(6, size=clips)
    tokens[np.arange(clips), place, 0] = 4
    tokens[np.arange(clips), place, 1] = np.where(labels == 0, -4, 4)
    return LabelledFeatures(values=tokens, labels=labels)


@pytest.fixture(scope="module")
def task() -> tuple[Task, np.ndarray]:
    train, test = marked(160, 0), marked(80, 1)
    parts = hold_out(train.labels, [None] * 160, 0.2, 0)
    return Task(train=train, parts=parts, test=test.values, num_classes=3), test.labels


def test_it_finds_the_token_that_tells(task: tuple[Task, np.ndarray]) -> None:
    advanced: list[int] = []
    fitted = fit_attentive(SHORT, task[0], advance=advanced.append)
    assert percent_right(fitted.scores, task[1]) > 85
    assert np.isneginf(fitted.scores[:, 2]).all()  # never seen
    assert sum(advanced) == num_steps(SHORT, task[0]) == SHORT.steps(160) + SHORT.steps(128)


def test_the_rate_is_chosen_on_the_held_out_part(task: tuple[Task, np.ndarray]) -> None:
    fitted = fit_attentive(replace(SHORT, lrs=(1e-6, 1e-2), epochs=6), task[0])
    assert fitted.chosen.setting == "lr=0.01"
    whole = replace(task[0], parts=nothing_held(160))
    assert [choice.accuracy for choice in fit_attentive(replace(SHORT, epochs=1), whole).choices] == [None]


def test_the_seed_decides_and_global_random_state_does_not(task: tuple[Task, np.ndarray]) -> None:
    before = torch.get_rng_state()
    first, again, other = (fit_attentive(replace(SHORT, epochs=1), task[0], seed=seed).scores for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_the_order_of_tokens_means_nothing_to_it() -> None:
    head, tokens = AttentiveHead(24, 5, seed=0), torch.randn(2, 7, 24, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(head(tokens), head(tokens.flip(1)), atol=1e-5)


@pytest.mark.parametrize("change", [{"lrs": ()}, {"lrs": (1.0, 0.1)}, {"epochs": 0}, {"weight_decay": -1.0}])
def test_nonsense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(change))):
        replace(SHORT, **change)  # type: ignore[arg-type]
