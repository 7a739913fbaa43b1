"""The optimiser and its learning rate over a run. Schedules are timm's, and functions of the step.

A classifier's learning rates fall towards the input: the head and the final norm have the full rate; each layer below
has `factor` times that of the one above it, down to patches, positions and tokens, by timm (after BEiT).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.backbones.base import Backbone, BackboneError
from tvts_bench.training.recipe import OptimConfig, Precision, Recipe, TimeTable

from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]  # isort: skip
from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]  # isort: skip
from timm.scheduler.cosine_lr import CosineLRScheduler  # isort: skip
from timm.scheduler.multistep_lr import MultiStepLRScheduler  # isort: skip


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: matrices and kernels with weight decay, all else without.

    Positions and tokens ([1, N, D]) are tables, not matrices: they have no decay, as in timm.
    """
    tables = [name for name, _ in model.named_parameters() if _is_table(name)]
    groups: list[dict[str, Any]] = param_groups_weight_decay(model, weight_decay, no_weight_decay_list=tables)
    return [group for group in reversed(groups) if group["params"]]


def layer_groups(
    backbone: Backbone, head: nn.Module, *, weight_decay: float, factor: float = 1.0, time_table: TimeTable = "stem"
) -> list[dict[str, Any]]:
    """Groups of all trained parameters for a torch optimiser; timm's schedules multiply by a group's `lr_scale`.

    Positions and tokens ([1, N, D]) are tables, not matrices: like biases and norms they have no weight decay.

    Args:
        backbone: frozen parameters (no `requires_grad`) are left out.
        head: trained with the full rate.
        weight_decay: of matrices and kernels.
        factor: rate of a layer / rate of the layer above it; 1: the same everywhere, no `layer_of` is needed.
        time_table: `head` trains `temporal_embed` with the head's rate and weight decay, as the official code does.

    Returns:
        The groups.

    Raises:
        BackboneError: `factor` is not 1 and the backbone does not know its layers.
    """
    parts = _Classifier(backbone, head)
    tables = [name for name, _ in parts.named_parameters() if _is_table(name, time_table)]
    groups: list[dict[str, Any]]
    if factor == 1:
        groups = param_groups_weight_decay(parts, weight_decay, no_weight_decay_list=tables)
    else:
        parts.assign_layers(time_table)
        groups = param_groups_layer_decay(parts, weight_decay, no_weight_decay_list=tables, layer_decay=factor)
    return groups


def _is_table(name: str, time_table: TimeTable = "stem") -> bool:
    last = name.rpartition(".")[2]
    return last.endswith(("_embed", "_token")) and not (time_table == "head" and last == "temporal_embed")


class _Classifier(nn.Module):
    """Backbone and head under names of their own, with the layers that timm asks a model for."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self._layers: dict[str, int] = {}

    def assign_layers(self, time_table: TimeTable) -> None:
        """Ask the backbone for the layer of every parameter."""
        names = [name for name, _ in self.backbone.named_parameters()]
        try:
            self._layers = {f"backbone.{name}": self.backbone.layer_of(name) for name in names}
        except BackboneError as error:
            raise BackboneError(f"{error}; set the layer decay to 1 to train all of it with one rate") from error
        last = max(self._layers.values(), default=0)
        for name, _ in self.named_parameters():
            if name.startswith("head.") or (time_table == "head" and name.endswith("temporal_embed")):
                self._layers[name] = last

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """What timm asks a model for."""
        return self._layers.__getitem__


def build_optimizer(
    model: nn.Module, config: OptimConfig, scales: Mapping[str, float] | None = None
) -> torch.optim.AdamW:
    """AdamW over what `model` trains.

    Args:
        model: its parameters without `requires_grad` are left out.
        config: rate, weight decay, betas.
        scales: prefix of parameter names -> their share of the rate.

    Returns:
        The optimiser, with a group for each rate and weight decay.
    """
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
        """Set the highest rate of every group.

        Args:
            optimizer: its groups' own `lr` are their highest rates.
            config: the schedule.
            steps: of the whole run.
        """
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


def classifier_optimizer(recipe: Recipe, backbone: Backbone, head: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of `recipe`.

    Args:
        recipe: kind, rates and weight decay.
        backbone: its parameters without `requires_grad` are left out.
        head: trained with the full rate.

    Returns:
        It, with a group for each rate and weight decay.

    Raises:
        BackboneError: the recipe decays rates by layer and the backbone does not know its layers.
    """
    decay, table = recipe.weight_decay, recipe.time_table
    groups = layer_groups(backbone, head, weight_decay=decay, factor=recipe.layer_decay, time_table=table)
    if recipe.optimizer == "sgd":  # Nesterov's, as what the official code calls sgd
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)
