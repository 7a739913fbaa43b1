"""V-JEPA 2 from files as its authors save them, against the transformers library's class fed directly."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.official_divided import CHANGES, altered, clips, layer, made, norm, prefixed
from tvts_bench.backbones.base import from_transformers
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.vjepa2 import FAMILY
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

WIDTH, DEPTH, MLP = 128, 2, 512


def official(table: int | None = None) -> dict[str, Tensor]:
    """The encoder by its names, with the table of positions of so many tokens that nothing reads."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (WIDTH, 3, 2, 8, 8),
        "patch_embed.proj.bias": (WIDTH,),
    }
    for i in range(DEPTH):
        block = f"blocks.{i}"
        shapes |= norm(f"{block}.norm1", WIDTH) | layer(f"{block}.attn.qkv", 3 * WIDTH, WIDTH)
        shapes |= layer(f"{block}.attn.proj", WIDTH, WIDTH) | norm(f"{block}.norm2", WIDTH)
        shapes |= layer(f"{block}.mlp.fc1", MLP, WIDTH) | layer(f"{block}.mlp.fc2", WIDTH, MLP)
    return made(shapes | norm("norm", WIDTH) | ({} if table is None else {"pos_embed": (1, table, WIDTH)}))


def library(state: dict[str, Tensor], size: int) -> nn.Module:
    """The library's own model with the weights put in one by one."""
    config = from_transformers("VJEPA2Config")(
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=2,
        crop_size=size,
        patch_size=8,
        pred_hidden_size=72,
        pred_num_hidden_layers=1,
    )
    model = from_transformers("VJEPA2Model")(config).eval()
    own = model.encoder.state_dict()
    with torch.no_grad():
        for kind in ("weight", "bias"):
            own[f"embeddings.patch_embeddings.proj.{kind}"].copy_(state[f"patch_embed.proj.{kind}"])
            own[f"layernorm.{kind}"].copy_(state[f"norm.{kind}"])
            for i in range(DEPTH):
                q, k, v = state[f"blocks.{i}.attn.qkv.{kind}"].split(WIDTH)
                for name, part in (("query", q), ("key", k), ("value", v)):
                    own[f"layer.{i}.attention.{name}.{kind}"].copy_(part)
                own[f"layer.{i}.attention.proj.{kind}"].copy_(state[f"blocks.{i}.attn.proj.{kind}"])
                for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                    own[f"layer.{i}.{name}.{kind}"].copy_(state[f"blocks.{i}.{name}.{kind}"])
    return model  # type: ignore[no-any-return]


def written(path: Path, encoder: dict[str, Tensor]) -> Path:
    """The container of the official training code: the averaged encoder is the target."""
    target = prefixed("module.backbone.", encoder)
    other = {name: tensor + 1 for name, tensor in target.items()}
    predictor = {"module.backbone.predictor_embed.weight": torch.zeros(2, 2)}
    torch.save({"encoder": other, "predictor": predictor, "opt": {}, "target_encoder": target, "epoch": 1}, path)
    return path


@pytest.mark.parametrize(("frames", "size"), [(16, 32), (4, 48)])
@pytest.mark.parametrize("table", [None, 8192])
@torch.inference_mode()
def test_official_files_give_the_mean_of_the_librarys_tokens(
    tmp_path: Path, table: int | None, frames: int, size: int
) -> None:
    encoder, batch = official(table), clips(frames, size)
    backbone = load_backbone(checkpoint=written(tmp_path / "vitl.pt", encoder))
    out = library(encoder, size)(pixel_values_videos=batch.transpose(1, 2), skip_predictor=True).last_hidden_state
    torch.testing.assert_close(backbone.tokens(batch), out, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(backbone(batch), out.mean(1), rtol=1e-4, atol=1e-4)
    assert (backbone.family, backbone.variant, backbone.embed_dim) == ("vjepa2", "tiny", 128)
    assert backbone.clip_spec == ClipSpec(sampling="dense", stride=4, short_side=32, crop=32)
    assert backbone.adaptations(ClipSpec(num_frames=frames, short_side=size, crop=size)) == ()
    report = backbone.weights.report
    assert report is not None
    assert report.unexpected == (() if table is None else ("backbone.pos_embed",))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("blocks.1.attn.qkv.weight", "layer.1.attention"),
        ("blocks.0.mlp.fc2.weight", "layer.0.mlp.fc2.weight"),
    ],
)
def test_one_tensor_that_does_not_fit_is_refused(tmp_path: Path, name: str, ours: str, change: str) -> None:
    path = written(tmp_path / "x.pt", altered(official(), name, change))
    with pytest.raises(CheckpointError, match=ours.replace(".", r"\.")):
        load_backbone("vjepa2", path)


def test_a_table_that_v_jepa_uses_is_not_taken_for_one_that_nothing_reads(tmp_path: Path) -> None:
    assert load_backbone(checkpoint=written(tmp_path / "x.pt", official(8 * 14**2))).family == "vjepa"


def test_resolutions_that_leave_no_trace_are_variants(tmp_path: Path) -> None:
    assert FAMILY.variants[0] == "large"
    with pytest.raises(CheckpointError, match="holds vjepa2:128x2, not the vjepa2:giant_384 asked for"):
        load_backbone("vjepa2:giant_384", written(tmp_path / "x.pt", official()))
