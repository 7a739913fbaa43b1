"""Which of a training checkpoint's networks is taken."""

import hashlib
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.support.weight_files import WEIGHTS, saved
from tvts_bench.models.checkpoint import (
    CheckpointError,
    read_checkpoint,
)

AVERAGES = {name: tensor + 1 for name, tensor in WEIGHTS.items()}


@pytest.mark.parametrize(
    "key", ["model_ema", "ema", "state_dict_ema", "ema_state_dict", "module_ema", "model_ema_state_dict", "swa_model"]
)
def test_averaged_weights_are_there_for_the_asking(tmp_path: Path, key: str) -> None:
    """Without it the others are taken, which is said; each choice has an identity of its own."""
    path = saved(tmp_path / "x.pth", {"model": WEIGHTS, key: AVERAGES})
    usual, averaged, named = (read_checkpoint(path, weights) for weights in (None, "ema", key))
    assert torch.equal(usual.tensors["weight"], WEIGHTS["weight"])
    assert usual.notes == (
        f"x.pth holds averaged weights under '{key}'; those under 'model' were taken"
        " (--weights ema takes the averaged ones)",
    )
    assert (usual.title, averaged.title) == ("x.pth", f"x.pth ({key})")
    assert torch.equal(averaged.tensors["weight"], AVERAGES["weight"])
    assert (averaged.container, averaged.beside, averaged.notes) == (key, ("model",), ())
    assert averaged.sha256 == named.sha256 != usual.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert averaged.files == {"x.pth": usual.sha256}
    again = read_checkpoint(path, "model")
    assert (again.sha256, again.title, again.notes) == (usual.sha256, "x.pth", ())


@pytest.mark.parametrize("nested", ["module", "state_dict", "model", "shadow"])
def test_averages_beside_their_decay_are_seen(tmp_path: Path, nested: str) -> None:
    path = saved(tmp_path / "x.pth", {"state_dict": WEIGHTS, "ema": {"decay": 0.99, nested: AVERAGES}})
    assert torch.equal(read_checkpoint(path, "ema").tensors["weight"], AVERAGES["weight"])
    assert len(read_checkpoint(path).notes) == 1


def test_torchs_own_average_leaves_its_counter_behind(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    averaged = torch.optim.swa_utils.AveragedModel(network).state_dict()
    path = saved(tmp_path / "x.pth", {"model": network.state_dict(), "model_ema": averaged})
    assert list(read_checkpoint(path, "ema").tensors) == ["module.weight", "module.bias"]


def test_an_average_alone_is_taken_and_a_teacher_beside_its_student_needs_no_word(tmp_path: Path) -> None:
    alone = read_checkpoint(saved(tmp_path / "x.pth", {"state_dict_ema": AVERAGES, "epoch": 3}))
    assert (alone.container, alone.notes) == ("state_dict_ema", ())
    both = saved(tmp_path / "y.pth", {"student": WEIGHTS, "teacher": AVERAGES})
    assert (read_checkpoint(both).container, read_checkpoint(both).notes) == ("teacher", ())
    assert read_checkpoint(both, "student").container == "student"


@pytest.mark.parametrize(
    ("content", "weights", "sentence"),
    [
        ({"model": WEIGHTS}, "ema", r"has no averaged weights; weights are under 'model'; leave out --weights"),
        (WEIGHTS, "ema", r"has no averaged weights; it holds one set of weights; leave out --weights"),
        ({"model": WEIGHTS}, "teacher", r"has no weights under 'teacher'; weights are under 'model'"),
        (
            {"model": WEIGHTS, "ema": Namespace()},
            "ema",
            r"holds an object of the class argparse\.Namespace under 'ema'",
        ),
    ],
)
def test_weights_that_are_not_there_are_refused(
    tmp_path: Path, content: dict[str, object], weights: str, sentence: str
) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        read_checkpoint(saved(tmp_path / "x.pth", content), weights)


def test_a_file_of_one_network_has_no_choice(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(
            CheckpointError, match="holds one set of weights, so there is no 'ema': leave out --weights"
        ):
            read_checkpoint(path, "ema")
