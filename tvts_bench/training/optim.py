"""The optimiser and its learning rate over a run, as configuration. Schedules are timm's, and functions of the step."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.errors import UserError

Schedule = Literal["constant", "cosine", "step"]
Precision = Literal["fp32", "bf16"]


class OptimError(UserError):
    """A value of the optimiser's configuration that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW and its schedule. The defaults are TVTS's: constant rate, x0.1 after 12 and 16 of 20 epochs."""

    lr: float = 1e-4  # the highest learning rate; not scaled with the batch
    weight_decay: float = 0.0  # of matrices only; biases, norms, positions and tokens have none
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    schedule: Schedule = "step"
    warmup: float = 0.0  # share (0..1) of the run in which the rate rises linearly from about 0
    milestones: tuple[float, ...] = (0.6, 0.8)  # shares of the run after which `step` lowers the rate
    decay: float = 0.1  # factor of each milestone
    final: float = 0.0  # of `cosine`, the rate at the end as a share of lr
    clip_grad: float | None = None  # the largest norm of the whole gradient; null: not clipped
    accumulate: int = 1  # micro-batches of one step; the step is that of the whole batch (see pretrain.step)
    precision: Precision = "fp32"  # bf16: autocast; weights, gradients and losses stay float32

    def __post_init__(self) -> None:
        for name in ("lr", "eps", "decay"):
            if not getattr(self, name) > 0:
                raise OptimError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("weight_decay", "final"):
            if not getattr(self, name) >= 0:
                raise OptimError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("lr", "eps", "decay", "weight_decay", "final", "clip_grad"):
            if getattr(self, name) == math.inf:
                raise OptimError(f"{name} must be finite, got inf")
        if not 0 <= self.warmup < 1:
            raise OptimError(f"warmup is a share of the run, from 0 to below 1, got {self.warmup}")
        if list(self.milestones) != sorted(self.milestones) or any(not 0 < m < 1 for m in self.milestones):
            raise OptimError(f"milestones are increasing shares of the run in (0, 1), got {self.milestones}")
        if any(not 0 <= beta < 1 for beta in self.betas):
            raise OptimError(f"betas must be in [0, 1), got {self.betas}")
        if self.clip_grad is not None and not self.clip_grad > 0:
            raise OptimError(f"clip_grad must be positive or null, got {self.clip_grad}")
        if self.accumulate < 1:
            raise OptimError(f"accumulate must be at least 1, got {self.accumulate}")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: matrices and kernels with weight decay, all else without.

    Positions and tokens ([1, N, D]) are tables, not matrices: they have no decay, as in timm.
    """
    with_decay: list[nn.Parameter] = []
    without: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            table = parameter.ndim < 2 or name.rpartition(".")[2].endswith(("_embed", "_token"))
            (without if table else with_decay).append(parameter)
    groups = [{"params": with_decay, "weight_decay": weight_decay}, {"params": without, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def build_optimizer(
    model: nn.Module, config: OptimConfig, scales: Mapping[str, float] | None = None
) -> torch.optim.AdamW:
    """AdamW over what `model` trains; parameters whose names begin as in `scales` at that share of the rate."""
    groups = parameter_groups(model, config.weight_decay)
    for prefix, scale in (scales or {}).items():
        if scale != 1:
            apart = {id(parameter) for name, parameter in model.named_parameters() if name.startswith(prefix)}
            groups = [part for group in groups for part in _split(group, apart, config.lr * scale)]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps)


def _split(group: dict[str, Any], apart: set[int], rate: float) -> list[dict[str, Any]]:
    """A parameter group without those `apart`, and those as a group with a `rate` of their own; neither is empty."""
    stays = [parameter for parameter in group["params"] if id(parameter) not in apart]
    leaves = [parameter for parameter in group["params"] if id(parameter) in apart]
    parts = [{**group, "params": stays}, {**group, "params": leaves, "lr": rate, "initial_lr": rate}]
    return [part for part in parts if part["params"]]


class LearningRate:
    """Sets the learning rate of every step. Its only state is the step, so there is nothing to save."""

    def __init__(self, optimizer: torch.optim.Optimizer, config: OptimConfig, steps: int) -> None:
        from timm.scheduler.cosine_lr import CosineLRScheduler
        from timm.scheduler.multistep_lr import MultiStepLRScheduler

        for group in optimizer.param_groups:
            group.setdefault("initial_lr", config.lr)
            group["lr"] = group["initial_lr"]
        warmup = round(config.warmup * steps)
        # Starts one increment above zero: a step at rate 0 would be a batch for nothing.
        common: dict[str, Any] = {"warmup_t": warmup, "warmup_lr_init": config.lr / (warmup + 1), "t_in_epochs": False}
        self._scheduler: Any
        if config.schedule == "cosine":
            self._scheduler = CosineLRScheduler(
                optimizer,
                t_initial=max(steps - warmup, 2),  # timm warns of 1
                lr_min=config.final * config.lr,
                warmup_prefix=True,
                **common,
            )
        else:
            shares = config.milestones if config.schedule == "step" else ()
            # timm counts from the end of the warm-up and lowers the rate one step before the number it is given.
            milestones = [round(share * steps) - warmup + 1 for share in shares]
            self._scheduler = MultiStepLRScheduler(optimizer, decay_t=milestones, decay_rate=config.decay, **common)
        self._optimizer = optimizer

    def set(self, step: int) -> float:
        """The rate of the first group for `step` (from 0), set in the optimiser."""
        self._scheduler.step_update(step)
        return float(self._optimizer.param_groups[0]["lr"])


def clip_gradient(parameters: Iterable[nn.Parameter], largest: float | None) -> torch.Tensor:
    """The norm of the whole gradient before it is scaled down to `largest`, if that is given."""
    return nn.utils.clip_grad_norm_(parameters, float("inf") if largest is None else largest)


def autocast(device: str, precision: Precision) -> torch.autocast:
    """bf16 where the configuration says so; float32 otherwise."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16")
