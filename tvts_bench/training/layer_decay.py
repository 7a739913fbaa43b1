"""Parameter groups of a classifier: learning rates that fall towards the input, weight decay for matrices only.

The head and the final norm have the full rate; each layer below has `factor` times that of the one above it, down to
patches, positions and tokens: factor ** (depth + 1 - layer), by timm (after BEiT).
"""

from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from tvts_bench import torchvision_ops  # noqa: F401 - before timm
from tvts_bench.backbones.base import Backbone, BackboneError

from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]  # isort: skip
from timm.optim import param_groups_weight_decay  # type: ignore[attr-defined]  # isort: skip

TimeTable = Literal["stem", "head"]


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

    Raises:
        BackboneError: `factor` is not 1 and the backbone does not know its layers.
    """
    parts = _Classifier(backbone, head)
    tables = [name for name, _ in parts.named_parameters() if _is_table(name, time_table)]
    groups: list[dict[str, Any]]
    if factor == 1:
        groups = param_groups_weight_decay(parts, weight_decay, no_weight_decay_list=tables)
    else:
        parts.place(time_table)
        groups = param_groups_layer_decay(parts, weight_decay, no_weight_decay_list=tables, layer_decay=factor)
    return groups


def _is_table(name: str, time_table: TimeTable) -> bool:
    last = name.rpartition(".")[2]
    return last.endswith(("_embed", "_token")) and not (time_table == "head" and last == "temporal_embed")


class _Classifier(nn.Module):
    """Backbone and head under names of their own, with the layers that timm asks a model for."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self._layers: dict[str, int] = {}

    def place(self, time_table: TimeTable) -> None:
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
        """timm's question."""
        return self._layers.__getitem__
