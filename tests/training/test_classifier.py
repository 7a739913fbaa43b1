"""A backbone with a head: what is trained, in which precision, and how deep blocks are dropped."""

import pytest
import torch
from torch import nn

from tests.support.supervised_world import tiny_backbone
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.errors import UserError
from tvts_bench.training.classifier import Classifier, ClipDropPath

CLIPS = torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))


def test_logits_are_the_head_on_the_embedding() -> None:
    backbone = tiny_backbone()
    model = Classifier(backbone, 5, frozen=True, seed=3)
    expected = backbone(CLIPS) @ model.head.weight.T
    torch.testing.assert_close(model(CLIPS), expected)
    assert not model.head.bias.any()


def test_the_head_is_drawn_from_its_own_seed() -> None:
    torch.manual_seed(0)
    first = Classifier(tiny_backbone(), 5, frozen=True, seed=3).head.weight
    torch.manual_seed(1)
    again, other = (Classifier(tiny_backbone(), 5, frozen=True, seed=seed).head.weight for seed in (3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert float(first.detach().std()) == pytest.approx(2e-5, rel=0.3)


def test_a_frozen_backbone_stays_in_evaluation_mode_without_gradient() -> None:
    model = Classifier(tiny_backbone(), 3, frozen=True).train()
    assert model.head.training
    assert not model.backbone.training
    model(CLIPS).sum().backward()
    assert model.head.weight.grad is not None
    assert all(weight.grad is None for weight in model.backbone.parameters())
    assert model.trained is model.head


def test_the_head_computes_in_float32_under_autocast() -> None:
    model = Classifier(tiny_backbone(), 3, frozen=False)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(CLIPS)
    assert logits.dtype == torch.float32
    assert model.trained is model


def test_drop_path_rises_from_the_first_block_to_the_last() -> None:
    model = Classifier(load_backbone("tvts:tiny"), 3, frozen=False, drop_path=0.3)
    blocks = model.get_submodule("backbone.encoder.blocks")
    assert isinstance(blocks, nn.ModuleList)
    assert len(blocks) == 4
    assert isinstance(blocks[0].drop_path1, nn.Identity)
    rates = [
        module.drop_prob
        for block in list(blocks)[1:]
        for module in (block.drop_path1, block.drop_path2)
        if isinstance(module, ClipDropPath)
    ]
    assert rates == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3])


def test_drop_path_is_refused_where_there_are_no_blocks() -> None:
    with pytest.raises(UserError, match=r"pixels has no transformer blocks .* got 0\.1"):
        Classifier(load_backbone("pixels"), 3, frozen=False, drop_path=0.1)
    Classifier(load_backbone("pixels"), 3, frozen=True, drop_path=0.1)  # nothing of it is trained
