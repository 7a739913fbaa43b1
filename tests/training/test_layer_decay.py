"""Learning rates by layer, against the formula written out; weight decay by name."""

import pytest
import torch
from torch import Tensor, nn

from tests.support.supervised_world import TWELVE
from tvts_bench.backbones.base import Backbone, BackboneError, WeightSource
from tvts_bench.backbones.tvts import TVTSBackbone
from tvts_bench.models.vit import VideoTransformer
from tvts_bench.training.optim import layer_groups
from tvts_bench.training.recipe import TimeTable

# 0.75 to the power of 13 - layer: stem, blocks 0 to 11, and the final norm with the head.
FACTORS = {
    "stem": 0.0237573,
    "0": 0.0316764,
    "1": 0.0422351,
    "2": 0.0563135,
    "3": 0.0750847,
    "4": 0.1001129,
    "5": 0.1334839,
    "6": 0.1779785,
    "7": 0.2373047,
    "8": 0.3164063,
    "9": 0.4218750,
    "10": 0.5625,
    "11": 0.75,
    "top": 1.0,
}
TABLES = {"backbone.encoder.cls_token", "backbone.encoder.pos_embed", "backbone.encoder.temporal_embed"}


def tvts() -> TVTSBackbone:
    return TVTSBackbone(VideoTransformer.seeded(TWELVE, 0), "small", WeightSource(name="none", sha256="0"))


def trained_as(
    backbone: Backbone, factor: float = 0.75, time_table: TimeTable = "stem"
) -> dict[str, tuple[float, float]]:
    """Scale of the rate and weight decay of every trained parameter by name, with a linear head."""
    head = nn.Linear(8, 3)
    groups = layer_groups(backbone, head, weight_decay=0.05, factor=factor, time_table=time_table)
    parts = (("backbone", backbone), ("head", head))
    names = {id(p): f"{part}.{name}" for part, module in parts for name, p in module.named_parameters()}
    rows = [(names[id(p)], group) for group in groups for p in group["params"]]
    assert len(rows) == len({name for name, _ in rows})  # each once
    return {name: (group.get("lr_scale", 1.0), group["weight_decay"]) for name, group in rows}


def layer(name: str) -> str:
    if name.startswith("backbone.encoder.blocks."):
        return name.split(".")[3]
    return "top" if name.startswith(("head.", "backbone.encoder.norm.")) else "stem"


def test_the_factors_of_twelve_blocks_are_those_of_the_formula() -> None:
    formula = [0.75 ** (13 - layer) for layer in range(14)]
    assert list(FACTORS.values()) == pytest.approx(formula, rel=1e-5)
    found = trained_as(tvts())
    assert len(found) == 5 + 12 * 12 + 2 + 2  # stem, blocks, final norm, head
    for name, (scale, _) in found.items():
        assert scale == pytest.approx(FACTORS[layer(name)], rel=1e-5), name
    assert {layer(name) for name in found} == set(FACTORS)


@pytest.mark.parametrize("factor", [0.75, 1.0])
def test_matrices_decay_and_nothing_else(factor: float) -> None:
    backbone = tvts()
    shapes = {f"backbone.{name}": p.ndim for name, p in backbone.named_parameters()} | {
        "head.weight": 2,
        "head.bias": 1,
    }
    for name, (_, decay) in trained_as(backbone, factor).items():
        assert decay == (0.05 if shapes[name] > 1 and name not in TABLES else 0.0), name


def test_the_papers_time_table_is_trained_as_the_head() -> None:
    right, paper = trained_as(tvts()), trained_as(tvts(), time_table="head")
    differing = {name for name in right if right[name] != paper[name]}
    assert differing == {"backbone.encoder.temporal_embed"}
    assert right["backbone.encoder.temporal_embed"] == pytest.approx((0.75**13, 0.0))
    assert paper["backbone.encoder.temporal_embed"] == (1.0, 0.05)
    assert trained_as(tvts(), 1.0, "head")["backbone.encoder.temporal_embed"] == (1.0, 0.05)


def test_of_a_frozen_backbone_only_the_head_is_left() -> None:
    backbone = tvts().requires_grad_(False)
    for factor in (0.75, 1.0):
        assert trained_as(backbone, factor) == {"head.weight": (1.0, 0.05), "head.bias": (1.0, 0.0)}


class Mean(Backbone):
    """A backbone that knows no layers."""

    family, variant, embed_dim = "mean", "only", 8

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8, 1))

    def forward(self, clips: Tensor) -> Tensor:
        return clips.mean((1, 2, 3, 4)) * self.scale.T


def test_a_backbone_without_layers_is_refused_only_where_they_are_needed() -> None:
    assert trained_as(Mean(), 1.0)["backbone.scale"] == (1.0, 0.05)
    with pytest.raises(BackboneError, match=r"no layers to decay.*set the layer decay to 1"):
        trained_as(Mean(), 0.75)
