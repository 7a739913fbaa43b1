"""Files of VideoMAE as its authors and the transformers library save them."""

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.support.joint_files import DIM, Tensors, encoder, random_tensors
from tvts_bench import torchvision_ops  # noqa: F401 - before transformers
from tvts_bench.backbones.base import Backbone

from transformers import VideoMAEConfig  # isort: skip
from transformers import VideoMAEModel  # isort: skip

BESIDE = {  # what else a pretraining file holds
    "encoder_to_decoder.weight": (64, DIM),
    "mask_token": (1, 1, 64),
    "decoder.blocks.0.attn.q_bias": (64,),
    "decoder.head.bias": (384,),
}


def config(**changes: Any) -> VideoMAEConfig:
    """The library's for our `tiny`, with the norm's epsilon of the official code."""
    given: dict[str, Any] = {"image_size": 32, "patch_size": 8, "num_frames": 16, "tubelet_size": 2, "hidden_size": DIM}
    given |= {"num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 4 * DIM, "layer_norm_eps": 1e-6}
    given |= {"decoder_hidden_size": 64, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    return VideoMAEConfig(**given | {"decoder_intermediate_size": 128} | changes)


def randomised(model: nn.Module) -> Any:
    """No tensor at its initial value, so that none can be forgotten unnoticed."""
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    model.load_state_dict(random_tensors(shapes), strict=False)  # strict: buffers are no parameters
    return model.eval()


def in_the_library(w: Tensors) -> Any:
    """`VideoMAEModel` without a final norm, holding official tensors."""
    state = {
        "embeddings.patch_embeddings.projection.weight": w["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.projection.bias": w["patch_embed.proj.bias"],
    }
    for i in range(4):
        ours, theirs = f"blocks.{i}.", f"encoder.layer.{i}."
        for part, weight in zip(("query", "key", "value"), w[f"{ours}attn.qkv.weight"].chunk(3), strict=True):
            state[f"{theirs}attention.attention.{part}.weight"] = weight
        state[f"{theirs}attention.attention.query.bias"] = w[f"{ours}attn.q_bias"]
        state[f"{theirs}attention.attention.value.bias"] = w[f"{ours}attn.v_bias"]
        for kind in ("weight", "bias"):
            state[f"{theirs}attention.output.dense.{kind}"] = w[f"{ours}attn.proj.{kind}"]
            state[f"{theirs}layernorm_before.{kind}"] = w[f"{ours}norm1.{kind}"]
            state[f"{theirs}layernorm_after.{kind}"] = w[f"{ours}norm2.{kind}"]
            state[f"{theirs}intermediate.dense.{kind}"] = w[f"{ours}mlp.fc1.{kind}"]
            state[f"{theirs}output.dense.{kind}"] = w[f"{ours}mlp.fc2.{kind}"]
    model = VideoMAEModel(config(use_mean_pooling=True))
    model.load_state_dict(state, strict=True)
    return model.eval()


def tokens_of(model: Any, frames: Tensor) -> Tensor:
    """Of the library's network, which takes time before channels."""
    with torch.inference_mode():
        output: Tensor = model(frames.transpose(1, 2)).last_hidden_state
    return output


def norm(x: Tensor, w: Tensors, name: str) -> Tensor:
    return F.layer_norm(x, (DIM,), w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-6)


def pretrained() -> Tensors:
    return encoder(2, separate_biases=True, norm="norm")


def pretraining_file(path: Path, w: Tensors) -> Path:
    """As the official code saves it: what it was called with rides along, as an object."""
    state = {f"encoder.{name}": tensor for name, tensor in w.items()} | random_tensors(BESIDE)
    args = argparse.Namespace(model="pretrain_videomae_base_patch16_224", mask_ratio=0.9)
    torch.save({"model": state, "optimizer": {"state": {}}, "epoch": 1599, "scaler": {}, "args": args}, path)
    return path


def fine_tuned() -> Tensors:
    return encoder(2, separate_biases=True, norm="fc_norm")


def fine_tuned_file(path: Path, w: Tensors, classes: int = 174) -> Path:
    """As DeepSpeed saves it."""
    head = random_tensors({"head.weight": (classes, DIM), "head.bias": (classes,)})
    torch.save({"module": w | head, "epoch": 29}, path)
    return path


def embedded(backbone: Backbone, frames: Tensor) -> Tensor:
    with torch.inference_mode():
        return backbone(frames)  # type: ignore[no-any-return]


def assert_close(computed: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(computed, expected, rtol=1e-4, atol=1e-5)
