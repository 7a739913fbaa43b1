"""The sorting transformer: its official shape, and that nothing but content can tell an order."""

from typing import Literal

import pytest
import torch
from torch import Tensor

from pretrain.model.sorter import SortTransformer

VIDEO, TEXT = 5, 4  # tokens


def sorter(
    modelling: Literal["k_way", "pairwise", "factorial"] = "k_way", sorts_video: bool = False
) -> SortTransformer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SortTransformer(12, 3, 4, modelling, sorts_video=sorts_video).double().eval()
        torch.nn.init.normal_(model.type_embed)
    return model


def tokens(count: int, seed: int) -> Tensor:
    return torch.randn(2, count, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_official_size_and_names_at_the_base_size() -> None:
    with torch.device("meta"):
        model = SortTransformer()
    assert sum(parameter.numel() for parameter in model.parameters()) == 14_181_892
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes["type_embed"] == (1, 2, 768)
    assert shapes["head.weight"] == (4, 768)
    assert shapes["blocks.1.attn.qkv.bias"] == (2304,)
    assert {name.split(".")[0] for name in shapes} == {"type_embed", "blocks", "norm", "head"}


def test_k_way_logits_permute_with_the_items() -> None:
    model, video, text = sorter(), tokens(VIDEO, 1), tokens(TEXT, 2)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.allclose(model(video, text[:, order]), model(video, text)[:, order], atol=1e-12)
    assert not torch.allclose(model(video, text[:, order]), model(video, text), atol=1e-3)


def test_pair_logits_are_antisymmetric_and_permute_with_the_items() -> None:
    model, video, text = sorter("pairwise"), tokens(VIDEO, 1), tokens(TEXT, 2)
    order = torch.tensor([2, 0, 3, 1])
    logits = model(video, text)
    assert logits.shape == (2, 4, 4)
    assert torch.equal(logits, -logits.mT)
    assert torch.allclose(model(video, text[:, order]), logits[:, order][:, :, order], atol=1e-12)
    assert logits.abs().max() > 0.01


def test_the_factorial_head_sees_slots() -> None:
    model, video, text = sorter("factorial"), tokens(VIDEO, 1), tokens(TEXT, 2)
    logits = model(video, text)
    assert logits.shape == (2, 24)
    assert not torch.allclose(model(video, text[:, [2, 0, 3, 1]]), logits, atol=1e-3)


@pytest.mark.parametrize("modelling", ["k_way", "pairwise"])
def test_sorting_video_gives_pieces_no_place_and_transcripts_their_order(
    modelling: Literal["k_way", "pairwise"],
) -> None:
    model, video, text = sorter(modelling, sorts_video=True), tokens(4, 1), tokens(TEXT, 2)
    order = torch.tensor([2, 0, 3, 1])
    logits = model(video, text)
    expected = logits[:, order] if modelling == "k_way" else logits[:, order][:, :, order]
    assert torch.allclose(model(video[:, order], text), expected, atol=1e-12)
    assert not torch.allclose(model(video, text[:, order]), logits, atol=1e-6)


def test_the_context_changes_the_answer() -> None:
    model, text = sorter(), tokens(TEXT, 2)
    assert not torch.allclose(model(tokens(VIDEO, 1), text), model(tokens(VIDEO, 3), text), atol=1e-3)
