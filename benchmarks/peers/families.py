"""The networks that `families.py` compares with: what a user of the library would write, on the same clips."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tvts_bench import torchvision_ops  # noqa: F401 - before timm and transformers
from tvts_bench.backbones._conversion.timesformer import TimeSformer
from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.internvideo2 import InternVideo2
from tvts_bench.backbones.mvit import MViTFeatures
from tvts_bench.backbones.tclr import DilatedResNet
from tvts_bench.backbones.vjepa2 import VJEPA2
from tvts_bench.models.divided_vit import DividedAttention, DividedBlock, DividedTransformer
from tvts_bench.models.joint_vit import JointViT
from tvts_bench.models.temporal_resnet import ShiftResNet, TemporalResNet, shifted
from tvts_bench.models.video_network import FrameAverage

from timm.layers import RmsNorm  # type: ignore[attr-defined]  # isort: skip
from timm.models.vision_transformer import Block  # isort: skip
from torchvision.models.resnet import Bottleneck  # isort: skip
from transformers import VideoMAEConfig, VideoMAEModel, VJEPA2Model  # isort: skip

Forward = Callable[[Tensor], Tensor]


def videomae_of_transformers(backbone: Backbone) -> Forward:
    """`VideoMAEModel`, then the norm of the mean."""
    network = backbone.network
    assert isinstance(network, JointViT)
    config = network.config
    model: nn.Module = VideoMAEModel(
        VideoMAEConfig(
            image_size=config.image_size,
            patch_size=config.patch_size,
            num_frames=config.num_frames,
            tubelet_size=config.tubelet,
            hidden_size=config.embed_dim,
            num_hidden_layers=config.depth,
            num_attention_heads=config.num_heads,
            intermediate_size=config.mlp_dim,
            layer_norm_eps=1e-6,
            use_mean_pooling=True,
        )
    )
    model = model.eval().to(device_of(backbone))

    def run(clips: Tensor) -> Tensor:
        tokens = model(clips.transpose(1, 2)).last_hidden_state  # it takes [B, T, 3, H, W]
        return F.layer_norm(tokens.mean(1), (config.embed_dim,), eps=1e-6)

    return run


def blocks_of_timm(backbone: Backbone) -> Forward:
    """A convolution, the table of positions, timm's blocks, the norm: the official forward passes in five lines."""
    network = backbone.network
    assert isinstance(network, JointViT)
    positions = network._positions(network.config.grid).to(device_of(backbone))  # the authors make them beforehand, too

    def run(clips: Tensor) -> Tensor:
        x = network.patch_embed.proj(clips).flatten(2).transpose(1, 2) + positions
        for block in network.blocks:
            x = block(x)
        pooled: Tensor = (
            network.norm(x.mean(1)) if network.config.pooling == "norm_of_mean" else network.norm(x).mean(1)
        )
        return pooled

    return run


def frames_of_timm(backbone: Backbone) -> Forward:
    """timm's network on all frames as images, then the mean; a projection where the family has one."""
    network = backbone.network
    assert isinstance(network, FrameAverage)
    image = network.image

    def run(clips: Tensor) -> Tensor:
        batch, _, frames, *size = clips.shape
        embeddings: Tensor = image.head(image.vit(clips.transpose(1, 2).reshape(-1, 3, *size)))  # type: ignore[operator]
        return embeddings.reshape(batch, frames, -1).mean(1)

    return run


def divided_in_plain_products(backbone: Backbone) -> Forward:
    """Frozen's equations as the official codes compute them: scores in full, group by group, all tokens to the end."""
    network = backbone.network
    assert isinstance(network, DividedTransformer)
    heads = network.config.num_heads

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights: Tensor = (q * q.shape[-1] ** -0.5 @ k.mT).softmax(-1)
        return weights @ v

    def attention(layer: DividedAttention, x: Tensor, frames: int, along: str) -> Tensor:
        q, k, v = layer.qkv(x).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)  # [B, heads, 1 + TN, d] each
        groups = [part[:, :, 1:].unflatten(2, (frames, -1)) for part in (q, k, v)]
        if along == "time":
            groups = [part.transpose(2, 3) for part in groups]
        cls_k, cls_v = (part[:, :, None, :1].expand(-1, -1, groups[0].shape[2], -1, -1) for part in (k, v))
        out = attend(groups[0], torch.cat([cls_k, groups[1]], 3), torch.cat([cls_v, groups[2]], 3))
        out = (out.transpose(2, 3) if along == "time" else out).flatten(2, 3)
        out = torch.cat([attend(q[:, :, :1], k, v), out], 2)
        return layer.proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def run(clips: Tensor) -> Tensor:
        x, frames = network._stem(clips)
        for block in network.blocks:
            assert isinstance(block, DividedBlock)
            y = x + attention(block.timeattn, block.norm3(x), frames, "time") if block.has_time else x
            x = x + attention(block.attn, block.norm1(y), frames, "space")
            x = x + block.mlp(block.norm2(x))
        return network._projected(x)[:, 0]

    return run


def timesformer_of_transformers(backbone: Backbone) -> Forward:
    """`TimesformerModel`, [CLS]."""
    network = backbone.network
    assert isinstance(network, TimeSformer)
    model = network.timesformer
    return lambda clips: model(clips.transpose(1, 2)).last_hidden_state[:, 0]


def vjepa2_of_transformers(backbone: Backbone) -> Forward:
    """`VJEPA2Model` without its predictor, the mean of tokens."""
    network = backbone.network
    assert isinstance(network, VJEPA2)
    model: nn.Module = VJEPA2Model(network.encoder.config)
    model = model.eval().to(device_of(backbone))
    return lambda clips: model(clips.transpose(1, 2), skip_predictor=True).last_hidden_state.mean(1)


def rms_blocks_of_timm(backbone: Backbone) -> Forward:
    """timm's blocks with RMS norms (its norms of queries and keys are head by head), between our stem and pool."""
    network = backbone.network
    assert isinstance(network, InternVideo2)
    size = network.config
    ratio = (size.mlp_dim + 0.5) / size.width
    made = [
        Block(size.width, size.num_heads, ratio, qkv_bias=False, qk_norm=True, init_values=1e-5, norm_layer=RmsNorm)
        for _ in range(size.depth)
    ]
    blocks = nn.Sequential(*made).eval().to(device_of(backbone))

    def run(clips: Tensor) -> Tensor:
        cls = network.cls_token.expand(len(clips), -1, -1)
        x = torch.cat([cls, network.patch_embed(clips)], 1) + network.pos_embed
        return network.clip_projector(blocks(x))  # type: ignore[no-any-return]

    return run


def mvit_of_torchvision(backbone: Backbone) -> Forward:
    """`MViT` itself, which takes clips of its own length and resolution."""
    network = backbone.network
    assert isinstance(network, MViTFeatures)
    run: Forward = network.mvit
    return run


def resnet_with_hooks(backbone: Backbone) -> Forward:
    """torchvision's `ResNet` called on frames, with what happens in time hooked before its convolutions."""
    network = backbone.network
    assert isinstance(network, TemporalResNet)
    model: nn.Module = copy.deepcopy(network.resnet)
    frames = backbone.clip_spec.num_frames
    for block in model.modules():
        if isinstance(block, Bottleneck) and isinstance(network, ShiftResNet):
            block.conv1.register_forward_pre_hook(lambda module, inputs: (shifted(inputs[0], frames),))
        elif isinstance(block, Bottleneck):
            block.conv2.register_forward_pre_hook(lambda module, inputs, tam=block.tam: (tam(inputs[0]),))
    return lambda clips: model(clips.transpose(1, 2).flatten(0, 1)).unflatten(0, (-1, frames)).mean(1)


def resnet_of_torchvision(backbone: Backbone) -> Forward:
    """`VideoResNet` itself, on clips in RGB."""
    network = backbone.network
    assert isinstance(network, DilatedResNet)
    run: Forward = network.resnet
    return run


PEERS: dict[str, tuple[str, Callable[[Backbone], Forward]]] = {
    "videomae": ("transformers VideoMAEModel", videomae_of_transformers),
    "videomae2": ("timm Block", blocks_of_timm),
    "umt": ("timm Block", blocks_of_timm),
    "vjepa": ("timm Block", blocks_of_timm),
    "mocov3": ("timm VisionTransformer", frames_of_timm),
    "mae": ("timm VisionTransformer", frames_of_timm),
    "frozen": ("plain products", divided_in_plain_products),
    "mcq": ("plain products", divided_in_plain_products),
    "miles": ("plain products", divided_in_plain_products),
    "tvts2": ("plain products", divided_in_plain_products),
    "timesformer": ("transformers TimesformerModel", timesformer_of_transformers),
    "svt": ("transformers TimesformerModel", timesformer_of_transformers),
    "vjepa2": ("transformers VJEPA2Model", vjepa2_of_transformers),
    "clip": ("timm VisionTransformer", frames_of_timm),
    "dinov2": ("timm VisionTransformer", frames_of_timm),
    "dinov3": ("timm Eva", frames_of_timm),
    "siglip2": ("timm VisionTransformer", frames_of_timm),
    "timm": ("timm's own network", frames_of_timm),
    "mvit": ("torchvision MViT", mvit_of_torchvision),
    "tsm": ("torchvision ResNet, hooks", resnet_with_hooks),
    "tanet": ("torchvision ResNet, hooks", resnet_with_hooks),
    "tclr": ("torchvision VideoResNet", resnet_of_torchvision),
    "internvideo2": ("timm Block with RmsNorm", rms_blocks_of_timm),
}
"""family -> (what it is compared with, how that is called)"""


def device_of(backbone: Backbone) -> torch.device:
    """Where its weights lie."""
    return next(backbone.parameters()).device
