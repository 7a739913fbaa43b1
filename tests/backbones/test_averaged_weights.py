"""Averaged weights beside those that they average: what is taken is said, chosen, and part of every identity."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.altered import saved
from tvts_bench.backbones.base import BackboneError, adaptation_notes
from tvts_bench.backbones.loading import load_as, load_backbone
from tvts_bench.backbones.tvts import SIZES
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.models.vit import VideoTransformer

NOTE = (
    "tvts:tiny: x.pth holds averaged weights under 'model_ema'; those under 'model' were taken"
    " (--weights ema takes the averaged ones)"
)


def weights(seed: int) -> dict[str, Tensor]:
    return VideoTransformer.seeded(SIZES["tiny"], seed).state_dict()


def both(path: Path) -> Path:
    return saved(path, {"model": weights(0), "model_ema": weights(1), "epoch": 3})


@pytest.mark.parametrize("name", [None, "tvts", "tvts:tiny"])
def test_the_averaged_ones_are_taken_where_they_are_chosen(tmp_path: Path, name: str | None) -> None:
    path = both(tmp_path / "x.pth")
    usual, averaged = (load_backbone(name, path, weights=which) for which in (None, "ema"))
    for backbone, seed in ((usual, 0), (averaged, 1)):
        expected = weights(seed)
        assert all(
            torch.equal(tensor, expected[key]) for key, tensor in backbone.get_submodule("encoder").state_dict().items()
        )
    assert (usual.weights.name, averaged.weights.name) == ("x.pth", "x.pth (model_ema)")
    assert usual.weights.sha256 != averaged.weights.sha256
    assert adaptation_notes(usual, usual.clip_spec) == (NOTE,)
    assert adaptation_notes(averaged, averaged.clip_spec) == ()


def test_a_family_that_a_table_names_has_the_choice_too(tmp_path: Path) -> None:
    backbone = load_as("tvts", both(tmp_path / "x.pth"), "model_ema")
    assert backbone.weights.name == "x.pth (model_ema)"


def test_networks_of_ones_own_have_the_choice_too(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.scale = torch.nn.Parameter(torch.ones(3))\n"
        "    def forward(self, clips):\n"
        "        return clips.mean((2, 3, 4)) * self.scale\n"
    )
    path = saved(tmp_path / "x.pth", {"model": {"scale": torch.ones(3)}, "ema": {"scale": torch.zeros(3)}})
    name = f"{tmp_path / 'net.py'}:Net"
    usual, averaged = (load_backbone(name, path, weights=which) for which in (None, "ema"))
    clips = torch.ones(1, 3, 16, 224, 224)
    assert (usual(clips).sum(), averaged(clips).sum()) == (3, 0)
    assert usual.weights.sha256 != averaged.weights.sha256
    assert (len(usual.weights.notes), averaged.weights.notes) == (1, ())


def test_a_folders_average_has_an_identity_of_its_own(tmp_path: Path) -> None:
    both(tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text("{}")
    usual, averaged = (load_backbone("tvts", tmp_path, weights=which) for which in (None, "ema"))
    assert usual.weights.sha256 != averaged.weights.sha256
    assert usual.weights.files == averaged.weights.files


def test_a_choice_without_a_checkpoint_or_an_average_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"--weights ema chooses among those in a checkpoint: add --ckpt"):
        load_backbone("tvts", weights="ema")
    with pytest.raises(CheckpointError, match=r"has no averaged weights; weights are under 'model'"):
        load_backbone("tvts", saved(tmp_path / "y.pth", {"model": weights(0)}), weights="ema")
