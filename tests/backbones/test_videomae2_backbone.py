"""VideoMAE v2, whose files differ from VideoMAE's in nothing but sizes, classes and the prefix on the hub."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.support.joint_files import DIM, Tensors, clips, encoder, random_tensors, tokens, unit_norm
from tests.support.plain_layers import layer_norm
from tvts_bench.backbones.detect import CheckpointSignature
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.videomae import FAMILY as VERSION_1
from tvts_bench.backbones.videomae2 import FAMILY, SIZES
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.joint_vit import JointViT, sinusoid


def distilled() -> Tensors:
    return encoder(2, separate_biases=True, norm="fc_norm")


def head(classes: int) -> Tensors:
    return random_tensors({"head.weight": (classes, DIM), "head.bias": (classes,)})


def test_a_distilled_file_gives_the_normalised_mean_of_tokens(tmp_path: Path) -> None:
    w = distilled()
    torch.save({"module": w | head(710)}, tmp_path / "vit_b_k710_dl_from_giant.pth")
    backbone = load_backbone(None, tmp_path / "vit_b_k710_dl_from_giant.pth")
    with torch.inference_mode():
        expected = layer_norm(tokens(w, clips(), sinusoid(128, DIM)).mean(1), w, "fc_norm")
        torch.testing.assert_close(backbone(clips()), expected, rtol=1e-4, atol=1e-5)
    assert (backbone.family, backbone.variant) == ("videomae2", "tiny")
    assert (backbone.clip_spec.sampling, backbone.clip_spec.stride) == ("dense", 4)
    assert backbone.weights.report is not None
    assert backbone.weights.report.unused_parts() == {"head": 2}


def test_a_file_of_the_hub_has_another_prefix(tmp_path: Path) -> None:
    w = distilled()
    save_file({f"model.{name}": tensor for name, tensor in w.items()}, tmp_path / "model.safetensors")
    backbone = load_backbone(None, tmp_path / "model.safetensors")
    assert backbone.family == "videomae2"
    with torch.inference_mode():
        expected = layer_norm(tokens(w, clips(), sinusoid(128, DIM)).mean(1), w, "fc_norm")
        torch.testing.assert_close(backbone(clips()), expected, rtol=1e-4, atol=1e-5)


def test_a_pretrained_file_named_with_its_family_loads(tmp_path: Path) -> None:
    w = encoder(2, separate_biases=True, norm="norm")
    state = {f"encoder.{name}": tensor for name, tensor in w.items()} | random_tensors({"mask_token": (1, 1, 64)})
    torch.save({"model": state}, tmp_path / "x.pth")
    backbone = load_backbone("videomae2", tmp_path / "x.pth")
    with torch.inference_mode():
        expected = unit_norm(tokens(w, clips(), sinusoid(128, DIM)).mean(1))
        torch.testing.assert_close(backbone(clips()), expected, rtol=1e-4, atol=1e-5)


def layout(shapes: dict[str, tuple[int, ...]]) -> CheckpointSignature:
    block = {"blocks.0.attn.q_bias": (DIM,), "patch_embed.proj.weight": (DIM, 3, 2, 8, 8)}
    return CheckpointSignature(container="module", shapes=block | shapes)


@pytest.mark.parametrize(
    ("shapes", "first", "second"),
    [
        ({"fc_norm.bias": (DIM,), "head.weight": (400, DIM)}, True, False),
        ({"fc_norm.bias": (DIM,), "head.weight": (710, DIM)}, False, True),
        ({"fc_norm.bias": (1408,), "patch_embed.proj.bias": (1408,)}, False, True),
        ({"fc_norm.bias": (DIM,)}, True, True),
        ({"cls_token": (1, 1, DIM)}, False, False),
        ({"patch_embed.proj.weight": (DIM, 3, 8, 8)}, False, False),
        ({"patch_embed.proj.weight": (DIM, 3, 1, 8, 8)}, False, False),
    ],
    ids=["K400 head", "K710 head", "giant", "no head", "an image model with [CLS]", "an image model", "UMT"],
)
def test_what_tells_the_two_versions_apart(shapes: dict[str, tuple[int, ...]], first: bool, second: bool) -> None:
    assert (VERSION_1.matches(layout(shapes)), FAMILY.matches(layout(shapes))) == (first, second)


def test_a_pretrained_giant_is_of_version_2() -> None:
    shapes = {f"encoder.{name}": shape for name, shape in layout({"patch_embed.proj.bias": (1408,)}).shapes.items()}
    giant = CheckpointSignature(container="model", shapes=shapes | {"encoder_to_decoder.weight": (512, 1408)})
    assert (VERSION_1.matches(giant), FAMILY.matches(giant)) == (False, True)


def test_a_fine_tuned_file_without_its_head_asks_which_it_is(tmp_path: Path) -> None:
    torch.save(distilled(), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"videomae.*videomae2"):
        load_backbone(None, tmp_path / "x.pth")
    embeddings = []
    for family in ("videomae", "videomae2"):
        backbone = load_backbone(family, tmp_path / "x.pth")
        with torch.inference_mode():
            embeddings.append(backbone(clips()))
    assert torch.equal(*embeddings)  # the same function, whatever it is called


def test_the_giant_has_a_billion_parameters() -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in JointViT(FAMILY.sizes["giant-token-norm"]).parameters())
    # 40 blocks: 4 D^2 of attention (5 biases), 2 * D * 6144 of the MLP, two norms; patches; the final norm.
    d, hidden = 1408, 6144
    block = 4 * d * d + 4 * d + 2 * d * hidden + hidden + d + 4 * d
    assert count == 40 * block + d * 3 * 2 * 14 * 14 + d + 2 * d
    assert SIZES["giant"].num_heads == 16
