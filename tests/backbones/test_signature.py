"""Names and shapes of a file's tensors."""

from pathlib import Path

import torch

from tvts_bench.backbones.detect import CheckpointSignature
from tvts_bench.models.checkpoint import read_checkpoint

LAYOUT = CheckpointSignature(
    container="model", shapes={"encoder.norm.weight": (4,), "encoder.q": (2, 4), "mask_token": (1, 1, 4)}
)


def test_names_are_asked_for_whole_by_start_and_by_part() -> None:
    assert LAYOUT.has("mask_token", "encoder.q")
    assert not LAYOUT.has("mask_token", "encoder")
    assert LAYOUT.starts("decoder.", "encoder.")
    assert not LAYOUT.starts("decoder.")
    part = LAYOUT.under("encoder.")
    assert (part.container, dict(part.shapes)) == ("model", {"norm.weight": (4,), "q": (2, 4)})
    assert not LAYOUT.under("decoder.").shapes


def test_a_files_layout_has_its_container_and_no_wrappers(tmp_path: Path) -> None:
    tensors = {"module.a": torch.zeros(2, 3), "module.b": torch.zeros(())}
    torch.save({"student": tensors, "teacher": tensors, "epoch": 3}, tmp_path / "x.pth")
    layout = CheckpointSignature.of(read_checkpoint(tmp_path / "x.pth"))
    assert layout == CheckpointSignature(container="teacher", shapes={"a": (2, 3), "b": ()})
    torch.save(tensors, tmp_path / "bare.pth")
    assert CheckpointSignature.of(read_checkpoint(tmp_path / "bare.pth")).container is None
