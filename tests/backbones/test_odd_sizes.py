"""Files whose tensors tell of a network that no memory holds: refused by name, before any memory is taken."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.support.joint_files import encoder, random_tensors
from tests.support.official_divided import frozen, made, timesformer, tvts2
from tvts_bench.backbones import PLUGINS
from tvts_bench.backbones.loading import load_backbone, load_read
from tvts_bench.backbones.tvts import SIZES
from tvts_bench.models.checkpoint import (
    OWN_METADATA,
    Checkpoint,
    CheckpointError,
    read_checkpoint,
)
from tvts_bench.models.vit import VideoTransformer

WIDTH = 64 * 10**8
FILES = {
    "frozen": (made(frozen()), "norm.weight"),
    "mcq": (made(frozen(time=False, final="norm1")), "norm1.weight"),
    "svt": (made(timesformer()), "norm.weight"),
    "tvts2": (made(tvts2()), "ln_post.weight"),
    "umt": (encoder(1, separate_biases=True, norm="fc_norm"), "patch_embed.proj.bias"),
    "vjepa": (
        encoder(2, separate_biases=False, norm="norm") | random_tensors({"pos_embed": (1, 128, 128)}),
        "patch_embed.proj.bias",
    ),
}


@pytest.mark.parametrize("family", FILES)
def test_an_invented_width_is_said_not_to_fit(tmp_path: Path, family: str) -> None:
    tensors, name = FILES[family]
    torch.save(tensors, tmp_path / "x.pth")
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    odd = replace(checkpoint, tensors={**checkpoint.tensors, name: torch.zeros(1).expand(WIDTH)})
    with pytest.raises(CheckpointError, match=r"x\.pth (does not fit the network|tells of a network)"):
        load_read(family, odd)


def test_our_own_file_cannot_tell_of_more_than_it_holds_either(tmp_path: Path) -> None:
    network = VideoTransformer.seeded(SIZES["tiny"], 0)
    described = {**asdict(network.config), "mlp_ratio": 10**12}
    save_file(dict(network.state_dict()), tmp_path / "x.safetensors", {OWN_METADATA: json.dumps(described)})
    with pytest.raises(CheckpointError, match=r"x\.safetensors (does not fit the network|tells of a network)"):
        load_backbone(checkpoint=tmp_path / "x.safetensors")


@pytest.fixture(scope="module")
def many_names(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A third of the names are of a head, which is set aside; the others ask for more blocks than any network has."""
    parts = ("blocks.{}.norm1.weight", "blocks.{}.mlp.fc1.bias", "head.{}.weight")
    tensors = {part.format(i): torch.zeros(0) for part in parts for i in range(10_000)}
    tensors |= {"norm.weight": torch.ones(128), "patch_embed.proj.weight": torch.zeros(128, 3, 8, 8)}
    tensors |= {"pos_embed": torch.zeros(1, 17, 128), "patch_embed.proj.bias": torch.zeros(128)}
    path = tmp_path_factory.mktemp("many") / "x.safetensors"
    save_file(tensors, path)
    return read_checkpoint(path)


@pytest.mark.parametrize("name", sorted(set(PLUGINS) - {"pixels", "timm", "transformers"}))
def test_a_file_of_tens_of_thousands_of_names_is_refused_in_seconds(many_names: Checkpoint, name: str) -> None:
    start = time.process_time()
    with pytest.raises(CheckpointError):
        load_read(name, many_names)
    assert time.process_time() - start < 10
