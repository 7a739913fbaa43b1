"""What every family of backbones promises, tested by its being listed."""

import pytest

from tvts_bench import registry
from tvts_bench.backbones.detect import CheckpointSignature, candidates, families, family
from tvts_bench.testing import (
    check_card,
    check_embedding,
    check_other_clips,
    check_seed,
    check_signatures,
    check_tokens_and_layers,
)

FAMILIES = registry.names("backbones")
# Base-sized networks take seconds here. `transformers` has no network of its own: it needs a folder.
CHEAPEST = [f"{name}:tiny" if "tiny" in family(name).variants else name for name in FAMILIES if name != "transformers"]


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_known_of_a_family_is_said(name: str) -> None:
    check_card(name)


@pytest.mark.parametrize("name", CHEAPEST)
def test_a_clip_becomes_a_vector_whatever_its_batch(name: str) -> None:
    check_embedding(name)


@pytest.mark.parametrize("name", CHEAPEST)
def test_a_seed_alone_decides_random_weights(name: str) -> None:
    check_seed(name)


@pytest.mark.parametrize("name", CHEAPEST)
def test_tokens_and_layers_are_there_or_refused(name: str) -> None:
    check_tokens_and_layers(name)


@pytest.mark.parametrize("name", CHEAPEST)
def test_other_clips_are_taken_and_said_or_refused_with_the_way_out(name: str) -> None:
    check_other_clips(name)


def vit(prefix: str = "", *more: str) -> tuple[str, ...]:
    """Names of a vision transformer as timm has them, under a prefix, and others."""
    norms = ("norm1.weight", "norm1.bias", "norm2.weight")
    linear = (
        "attn.qkv.weight",
        "attn.qkv.bias",
        "attn.proj.weight",
        "mlp.fc1.weight",
        "mlp.fc2.weight",
        "mlp.fc1.bias",
    )
    blocks = tuple(f"blocks.{i}.{name}" for i in range(2) for name in (*norms, *linear))
    stem = ("patch_embed.proj.weight", "patch_embed.proj.bias")
    return (*(prefix + name for name in (*stem, *blocks, "norm.weight", "norm.bias")), *more)


def blocks(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}{i}.{name}" for i in range(2) for name in names)


NARRATED = ("text_model.transformer.layer.0.attention.q_lin.weight", "vid_proj.0.weight")
Q_AND_V = ("attn.q_bias", "attn.v_bias")


def without_bias(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if not name.endswith("attn.qkv.bias"))


RESNET = (
    *("conv1.weight", "bn1.weight", "bn1.running_mean"),
    *(f"layer{i}.0.{name}" for i in range(1, 5) for name in ("conv2.weight", "conv3.weight", "bn1.weight")),
    "layer1.0.downsample.0.weight",
)
TWO_D, THREE_D, PATCH = (8, 3, 4, 4), (8, 3, 2, 4, 4), "patch_embed.proj.weight"
# Official files, as far as names and the patches' shape tell them: container, names, what the patches are cut by.
OFFICIAL: dict[str, tuple[str, str | None, tuple[str, ...], tuple[int, ...]]] = {
    "TVTS": (
        "tvts",
        "state_dict",
        (
            *vit("video_model.", *NARRATED, "txt_proj.1.weight", "pred_model.head.weight"),
            *("video_model.cls_token", "video_model.pos_embed", "video_model.temporal_embed"),
        ),
        THREE_D,
    ),
    "Frozen": (
        "frozen",
        "state_dict",
        (
            *vit("video_model.", *NARRATED, "txt_proj.1.weight"),
            *blocks("video_model.blocks.", "timeattn.qkv.weight", "norm3.weight"),
            *("video_model.cls_token", "video_model.pos_embed", "video_model.temporal_embed"),
        ),
        TWO_D,
    ),
    "MILES": (
        "miles",
        "state_dict",
        (
            *vit("video_model.", *NARRATED, "text_proj.1.weight"),
            *blocks("video_model.blocks.", "timeattn.qkv.weight", "norm3.weight"),
            *("video_model.cls_token", "video_model.pos_embed", "video_model.temporal_embed"),
        ),
        TWO_D,
    ),
    "MCQ": (
        "mcq",
        "state_dict",
        (
            *(name for name in vit("video_model.") if not name.startswith("video_model.norm.")),
            *blocks("video_model.blocks.", "crossattn.qkv.weight", "bridgeattn.qkv.weight", "norm4.weight"),
            *("video_model.norm1.weight", "video_model.norm2.weight", "video_model.bridge_proj.weight"),
            *("video_model.cls_token", "video_model.pos_embed", *NARRATED, "text_proj.1.weight"),
        ),
        TWO_D,
    ),
    "VideoMAE, pretrained": (
        "videomae",
        "model",
        (
            *without_bias(vit("encoder.")),
            *blocks("encoder.blocks.", *Q_AND_V),
            *without_bias(vit("decoder.")),
            *("encoder_to_decoder.weight", "mask_token", "decoder.head.weight"),
        ),
        THREE_D,
    ),
    "VideoMAE, fine-tuned": (
        "videomae",
        "module",
        (
            *(name for name in without_bias(vit()) if not name.startswith("norm.")),
            *blocks("blocks.", *Q_AND_V),
            *("fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"),
        ),
        THREE_D,
    ),
    "UMT": (
        "umt",
        "model",
        (*without_bias(vit("encoder.")), *blocks("encoder.blocks.", *Q_AND_V), "clip_decoder.0.head.weight"),
        (8, 3, 1, 4, 4),
    ),
    "V-JEPA": ("vjepa", "target_encoder", vit("backbone.", "backbone.pos_embed"), THREE_D),
    "V-JEPA 2": ("vjepa2", "target_encoder", vit("backbone."), THREE_D),
    "SVT": (
        "svt",
        "teacher",
        (
            *vit("backbone.", "backbone.cls_token", "backbone.pos_embed", "backbone.time_embed"),
            *blocks("backbone.blocks.", "temporal_attn.qkv.weight", "temporal_norm1.weight", "temporal_fc.weight"),
            *("head.mlp.0.weight", "head.last_layer.weight_v"),
        ),
        TWO_D,
    ),
    "TimeSformer": (
        "timesformer",
        "model_state",
        (
            *vit("model.", "model.cls_token", "model.pos_embed", "model.time_embed", "model.head.weight"),
            *blocks("model.blocks.", "temporal_attn.qkv.weight", "temporal_norm1.weight", "temporal_fc.weight"),
        ),
        TWO_D,
    ),
    "CLIP": (
        "clip",
        None,
        (
            *("visual.class_embedding", "visual.conv1.weight", "visual.positional_embedding", "visual.proj"),
            *("visual.ln_pre.weight", "visual.ln_post.weight", "visual.transformer.resblocks.0.attn.in_proj_weight"),
            *("transformer.resblocks.0.ln_1.weight", "token_embedding.weight", "logit_scale", "input_resolution"),
        ),
        TWO_D,
    ),
    "DINOv2": ("dinov2", None, vit("", "cls_token", "pos_embed", "mask_token", *blocks("blocks.", "ls1.gamma")), TWO_D),
    "MoCo v3": (
        "mocov3",
        "state_dict",
        (
            *vit("base_encoder.", "base_encoder.cls_token", "base_encoder.pos_embed", "base_encoder.head.0.weight"),
            *vit("momentum_encoder.", "momentum_encoder.cls_token", "predictor.0.weight"),
        ),
        TWO_D,
    ),
    "MAE": ("mae", "model", vit("", "cls_token", "pos_embed"), TWO_D),
    "TSM": (
        "tsm",
        "state_dict",
        (
            *(f"base_model.{name}" for name in RESNET),
            *(f"base_model.layer{i}.0.conv1.net.weight" for i in range(1, 5)),
            *("new_fc.weight", "new_fc.bias"),
        ),
        TWO_D,
    ),
    "TANet": (
        "tanet",
        "state_dict",
        (
            *(f"base_model.{name}" for name in ("conv1.weight", "bn1.weight")),
            *(f"base_model.layer{i}.0.net.conv{j}.weight" for i in range(1, 5) for j in range(1, 4)),
            *(f"base_model.layer{i}.0.tam.{part}.0.weight" for i in range(1, 5) for part in "GL"),
            *("new_fc.weight", "new_fc.bias"),
        ),
        TWO_D,
    ),
}


def layout_of(container: str | None, names: tuple[str, ...], patch: tuple[int, ...]) -> CheckpointSignature:
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(names, (8, 8))
    shapes |= {name: (1, 72, 8) for name in names if name.endswith(("pos_embed", "time_embed", "temporal_embed"))}
    shapes |= {name: patch for name in names if name.endswith(PATCH)}
    return CheckpointSignature(container=container, shapes=shapes)


@pytest.mark.parametrize("file", OFFICIAL)
def test_official_files_are_recognised_by_their_own_family_alone(file: str) -> None:
    name, container, names, patch = OFFICIAL[file]
    usable = families().usable
    found = candidates(layout_of(container, names, patch), usable)
    assert name in found
    assert set(found) - {name} <= set(usable[name].card.shares_layout_with)


@pytest.mark.parametrize("name", CHEAPEST)
def test_a_file_of_something_else_is_nobodys(name: str) -> None:
    check_signatures(name)
