"""Loading weights completely or not at all."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.weight_files import WEIGHTS, saved
from tvts_bench.models.checkpoint import (
    CheckpointError,
    LoadReport,
    load_strictly,
    read_checkpoint,
    without_prefixes,
)


def test_counters_of_batch_normalisation_are_loaded(tmp_path: Path) -> None:
    norm, other = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    norm(torch.tensor([[1.0, 2.0], [3.0, 5.0]]))
    report = load_strictly(other, read_checkpoint(saved(tmp_path / "x.pth", norm.state_dict())).tensors, "x.pth")
    assert report.used == 5
    assert other.state_dict()["num_batches_tracked"] == 1
    with pytest.raises(
        CheckpointError, match=r"are integers, as quantised weights are \(int64\): running_mean; .* get the"
    ):
        load_strictly(other, norm.state_dict() | {"running_mean": torch.zeros(2, dtype=torch.int64)}, "x.pth")


def test_all_tensors_are_loaded_and_counted() -> None:
    module = nn.Linear(3, 2)
    report = load_strictly(module, WEIGHTS, "x.pth", format="state dict", unused=["text.a", "text.b", "head.c"])
    assert torch.equal(module.weight, WEIGHTS["weight"])
    assert report == LoadReport(format="state dict", used=2, unexpected=("text.a", "text.b", "head.c"))
    assert report.unused_parts() == {"text": 2, "head": 1}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_cast(dtype: torch.dtype) -> None:
    module = nn.Linear(3, 2)
    load_strictly(module, {name: tensor.to(dtype) for name, tensor in WEIGHTS.items()}, "x.pth")
    assert module.weight.dtype == torch.float32
    assert torch.equal(module.weight, WEIGHTS["weight"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bias": None}, "missing 1 of 2 tensors (bias)"),
        ({"scale": torch.ones(1)}, "unknown 1 (scale)"),
        ({"weight": torch.ones(3, 2)}, "weight is [3, 2], expected [2, 3]"),
        ({"bias": torch.tensor([1.0, float("nan")])}, "not finite numbers: bias"),
        ({"bias": torch.tensor([1.0, float("inf")])}, "not finite numbers: bias"),
        ({"bias": torch.tensor([1, 2])}, "are integers, as quantised weights are (int64): bias; the scales of"),
        ({"bias": torch.tensor([1, 2], dtype=torch.int8)}, "are integers, as quantised weights are (int8): bias; the"),
        ({"bias": torch.tensor([1j, 2])}, "are complex numbers (complex64): bias"),
        ({"bias": torch.tensor([1.0, 2.0]).to_sparse()}, "are not dense (sparse_coo): have them saved with .to_dense"),
        ({"bias": torch.empty(2, device="meta")}, "are described without their values: bias"),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(change: dict[str, Tensor | None], said: str) -> None:
    module = nn.Linear(3, 2)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    tensors = {name: tensor for name, tensor in (WEIGHTS | change).items() if tensor is not None}
    with pytest.raises(CheckpointError) as caught:
        load_strictly(module, tensors, "x.pth")
    assert said in str(caught.value)
    assert "x.pth" in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_long_lists_are_cut() -> None:
    with pytest.raises(CheckpointError, match=r"unknown 30 \(n0, n1, .*, and 22 more\)"):
        load_strictly(nn.Linear(3, 2), WEIGHTS | {f"n{i}": torch.ones(1) for i in range(30)}, "x.pth")


def test_prefixes_go_only_when_all_have_them() -> None:
    one = torch.ones(1)
    assert list(without_prefixes({"module._orig_mod.module.a": one, "module._orig_mod.module.b": one})) == ["a", "b"]
    assert list(without_prefixes({"module.a": one, "b": one})) == ["module.a", "b"]
    assert without_prefixes({}) == {}


@pytest.mark.parametrize(
    "bias",
    [torch.zeros(2).to(torch.float8_e4m3fn), torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)],
)
def test_quantised_weights_are_called_so(bias: Tensor) -> None:
    """They are finite, but no numbers to compute with where their scales are elsewhere."""
    with pytest.raises(CheckpointError, match=r"are quantised \(\w+\): bias; .* get the weights in float32"):
        load_strictly(nn.Linear(3, 2), {**WEIGHTS, "bias": bias}, "x.pth")


def test_a_name_of_prefixes_alone_takes_no_time() -> None:
    assert list(without_prefixes({"module." * 200_000 + "w": torch.zeros(1)})) == ["w"]
