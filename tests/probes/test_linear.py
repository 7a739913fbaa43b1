"""A grid of heads in one tensor is the heads one by one."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.probe_tasks import clouds, nothing_held
from tvts_bench.errors import UserError
from tvts_bench.probes.base import percent_right
from tvts_bench.probes.linear import Linear, fit_linear, num_steps, train_heads

SHORT = Linear(lrs=(0.03, 0.3), weight_decays=(0.0, 0.01), epochs=3, batch_size=64)


def test_every_head_is_what_torch_trains_alone() -> None:
    """Against nn.Linear, torch.optim.SGD and a cosine written out, on the same batches."""
    task, _ = clouds()
    values, labels = torch.from_numpy(task.train.values), torch.from_numpy(task.train.labels)
    heads = train_heads(SHORT, SHORT.grid, task.train, task.num_classes, seed=3)
    steps = 3 * math.ceil(300 / 64)
    for head, (lr, decay) in enumerate(SHORT.grid):
        alone = nn.Linear(values.shape[1], task.num_classes)
        nn.init.zeros_(alone.weight)
        nn.init.zeros_(alone.bias)
        groups = [{"params": [alone.weight], "weight_decay": decay}, {"params": [alone.bias], "weight_decay": 0.0}]
        optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9)
        order, step = torch.Generator().manual_seed(3), 0
        for _ in range(3):
            for rows in torch.randperm(300, generator=order).split(64):
                for group in optimizer.param_groups:
                    group["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
                optimizer.zero_grad()
                nn.functional.cross_entropy(alone(values[rows]), labels[rows]).backward()
                optimizer.step()
                step += 1
        assert step == SHORT.steps(300) == steps
        assert torch.allclose(heads.weight[head], alone.weight, atol=1e-6)
        assert torch.allclose(heads.bias[head], alone.bias, atol=1e-6)


def test_a_head_that_diverges_harms_no_other() -> None:
    task, _ = clouds()
    wild = replace(SHORT, lrs=(0.03, 1e30), weight_decays=(0.01,))
    heads = train_heads(wild, wild.grid, task.train, task.num_classes, seed=0)
    alone = train_heads(wild, wild.grid[:1], task.train, task.num_classes, seed=0)
    assert not heads.weight[1].isfinite().all()
    assert torch.allclose(heads.weight[0], alone.weight[0], atol=1e-6)
    assert fit_linear(wild, task).chosen.setting == "lr=0.03 wd=0.01"
    with pytest.raises(UserError, match="diverges at a learning rate of 1e\\+30"):
        fit_linear(replace(wild, lrs=(1e30,)), task)


def test_a_grid_begins_with_the_most_cautious_head() -> None:
    assert SHORT.grid == ((0.03, 0.01), (0.03, 0.0), (0.3, 0.01), (0.3, 0.0))


def test_the_best_head_on_the_held_out_part_answers_for_the_test_set() -> None:
    task, labels = clouds(noise=0.5)
    advanced: list[int] = []
    fitted = fit_linear(SHORT, task, advance=advanced.append)
    assert sum(advanced) == num_steps(SHORT, task) == SHORT.steps(300) + SHORT.steps(240)
    assert fitted.chosen.accuracy == max(choice.accuracy or 0 for choice in fitted.choices)
    assert percent_right(fitted.scores, labels) > 80
    again = fit_linear(SHORT, replace(task, test=task.test[:5]))
    assert again.choices == fitted.choices
    assert np.allclose(again.scores, fitted.scores[:5], atol=1e-5)


def test_a_rate_at_the_end_of_the_grid_is_said_only_where_it_is_better_than_its_neighbour() -> None:
    task, _ = clouds(noise=2.0, clips=100, dimensions=40)
    high = replace(SHORT, lrs=(0.1, 100.0, 1000.0))
    assert fit_linear(high, task).notes == ("the linear head chose lr=0.1, an end of its grid",)
    easy, _ = clouds(noise=0.01)
    assert fit_linear(replace(SHORT, lrs=(0.1, 0.2, 0.3)), easy).notes == ()  # all of them are right about everything


def test_where_nothing_is_held_out_the_middle_of_the_grid_is_used() -> None:
    task, _ = clouds()
    fitted = fit_linear(SHORT, replace(task, parts=nothing_held(len(task.train))))
    assert [(choice.setting, choice.accuracy) for choice in fitted.choices] == [("lr=0.3 wd=0.01", None)]


def test_a_class_without_a_training_clip_is_no_answer() -> None:
    task, _ = clouds(classes=3)
    assert np.isneginf(fit_linear(SHORT, replace(task, num_classes=5)).scores[:, 3:]).all()


def test_the_seed_decides_and_global_random_state_does_not() -> None:
    task, _ = clouds()
    before = torch.get_rng_state()
    first, again, other = (fit_linear(SHORT, task, seed=seed).scores for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("change", "words"),
    [({"lrs": ()}, "lrs"), ({"lrs": (-1.0,)}, "lrs"), ({"epochs": 0}, "epochs"), ({"momentum": 1.0}, "momentum")],
)
def test_nonsense_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(SHORT, **change)  # type: ignore[arg-type]
