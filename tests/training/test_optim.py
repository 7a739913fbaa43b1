"""Schedules by hand, groups by name."""

import pytest
import torch
from torch import nn

from tvts_bench.errors import UserError
from tvts_bench.training.optim import LearningRate, build_optimizer, clip_gradient
from tvts_bench.training.recipe import OptimConfig


def rates(config: OptimConfig, steps: int) -> list[float]:
    rate = LearningRate(build_optimizer(nn.Linear(2, 2), config), config, steps)
    return [rate.set(step) for step in range(steps)]


def test_the_papers_schedule_drops_after_epochs_12_and_16_of_20() -> None:
    found = rates(OptimConfig(lr=1.0), 20)
    assert found == pytest.approx([1.0] * 12 + [0.1] * 4 + [0.01] * 4)


def test_milestones_count_from_the_start_of_the_run_also_with_a_warm_up() -> None:
    found = rates(OptimConfig(lr=1.0, warmup=0.2, milestones=(0.5,)), 10)
    assert found == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1])


def test_cosine_falls_from_lr_after_the_warm_up_towards_final() -> None:
    found = rates(OptimConfig(lr=2.0, schedule="cosine", warmup=0.2, final=0.1), 10)
    assert found[2] == pytest.approx(2.0)
    assert found[6] == pytest.approx((2.0 + 0.2) / 2)  # half way between step 2 and step 10
    assert found[2:] == sorted(found[2:], reverse=True)
    assert min(found[2:]) > 0.2


def test_constant_stays() -> None:
    assert set(rates(OptimConfig(lr=0.5, schedule="constant"), 7)) == {0.5}


def test_a_schedule_depends_on_the_step_alone() -> None:
    config = OptimConfig(lr=1.0, schedule="cosine", warmup=0.3)
    optimizer = build_optimizer(nn.Linear(2, 2), config)
    rate = LearningRate(optimizer, config, 10)
    forward = [rate.set(step) for step in range(10)]
    assert [rate.set(step) for step in reversed(range(10))] == forward[::-1]
    again = torch.optim.AdamW(nn.Linear(2, 2).parameters(), lr=1.0)
    again.load_state_dict(torch.optim.AdamW(nn.Linear(2, 2).parameters(), lr=1.0).state_dict())
    assert [LearningRate(again, config, 10).set(step) for step in range(10)] == forward


def test_only_matrices_decay() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pos_embed = nn.Parameter(torch.zeros(1, 4, 2))
            self.cls_token = nn.Parameter(torch.zeros(1, 1, 2))
            self.fc = nn.Linear(2, 3)
            self.norm = nn.LayerNorm(3)
            self.frozen = nn.Linear(2, 2).requires_grad_(False)

    with_decay, without = build_optimizer(Net(), OptimConfig(weight_decay=0.1)).param_groups
    assert [tuple(p.shape) for p in with_decay["params"]] == [(3, 2)]
    assert (with_decay["weight_decay"], without["weight_decay"]) == (0.1, 0.0)
    assert len(without["params"]) == 5  # two tables, the bias, the norm's two


def test_a_part_of_the_model_may_learn_at_a_share_of_the_rate() -> None:
    model = nn.ModuleDict({"text": nn.Linear(2, 2), "video": nn.Linear(2, 2)})
    config = OptimConfig(lr=1.0, weight_decay=0.1, schedule="cosine", warmup=0.5)
    optimizer = build_optimizer(model, config, {"text.": 0.25})
    LearningRate(optimizer, config, 10).set(5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: rates[id(p)] for name, p in model.named_parameters()} == {
        "text.weight": 0.25, "text.bias": 0.25, "video.weight": 1.0, "video.bias": 1.0
    }  # fmt: skip
    assert {name for name, p in model.named_parameters() if decay[id(p)]} == {"text.weight", "video.weight"}


def test_clipping_scales_the_whole_gradient() -> None:
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    a.grad, b.grad = torch.tensor([3.0]), torch.tensor([4.0])
    assert float(clip_gradient([a, b], None)) == 5.0
    assert float(a.grad) == 3.0
    clip_gradient([a, b], 1.0)
    assert [float(a.grad), float(b.grad)] == pytest.approx([0.6, 0.8], rel=1e-4)


@pytest.mark.parametrize(
    "bad", [{"lr": 0.0}, {"warmup": 1.0}, {"milestones": (0.8, 0.6)}, {"accumulate": 0}, {"clip_grad": 0.0}]
)
def test_nonsense_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        OptimConfig(**bad)  # type: ignore[arg-type]
