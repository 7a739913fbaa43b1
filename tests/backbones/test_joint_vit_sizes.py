"""Every named size of the joint ViTs is told from tensors alone, also the ones too large to be made in a test."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tvts_bench.backbones import umt, videomae, videomae2, vjepa
from tvts_bench.backbones._conversion.reader import ConfigReader
from tvts_bench.backbones._conversion.videomae import Sizes, joint_config, named_like
from tvts_bench.models.checkpoint import Checkpoint
from tvts_bench.models.joint_vit import JointViT, JointViTConfig

SIZES: dict[str, Sizes] = {module.FAMILY.name: module.SIZES for module in (videomae, videomae2, umt, vjepa)}
CASES = [(family, name, size) for family, sizes in SIZES.items() for name, size in sizes.items()]


def told(tensors: dict[str, Tensor], family: str) -> tuple[str, JointViTConfig]:
    """Name and shape of the network whose tensors these are."""
    checkpoint = Checkpoint(path=Path("x.pth"), sha256="", format="", tensors=tensors)
    config = joint_config(SIZES[family], ConfigReader(tensors, checkpoint))
    return named_like(SIZES[family], config) or "", config


@pytest.mark.parametrize(("family", "name", "size"), CASES, ids=[f"{family}:{name}" for family, name, _ in CASES])
def test_a_size_is_told_from_its_tensors(family: str, name: str, size: JointViTConfig) -> None:
    with torch.device("meta"):
        tensors = JointViT(size).state_dict()
    assert told(tensors, family) == (name, size)


@pytest.mark.parametrize("image_size", [224, 336])
@pytest.mark.parametrize("frames", [8, 16, 32, 64])
def test_a_table_tells_the_frames_and_the_images_of_umts_files(frames: int, image_size: int) -> None:
    with torch.device("meta"):
        table = torch.zeros(1, frames * (image_size // 16) ** 2, 1024)
        tensors = JointViT(umt.SIZES["large"]).state_dict() | {"pos_embed": table}
    name, config = told(tensors, "umt")
    assert (name, config.num_frames, config.image_size) == ("large", frames, image_size)
