"""What is measured on held-out data while training."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pretrain.objectives import ordering
from pretrain.run_folder import read_status
from pretrain.runs import begin
from tests.support.tiny_run import records, tiny
from tvts_bench.errors import UserError


def test_held_out_clips_of_which_none_can_be_read_are_an_error(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / "videos" / "walk").mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / "walk" / f"{number}.mp4").write_bytes(b"no video")
    look = (f"validation.root={tmp_path / 'videos'}", "validation.dataset=folder", "validation.every=2")
    with pytest.raises(UserError, match=r"dataset=folder fewer than 2 can be read: .*0\.mp4"):
        begin(*tiny(tmp_path, *look))
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["step"] == 2  # resume with another root


def test_held_out_measures_are_logged_beside_chance(tmp_path: Path) -> None:
    held_out = "validation.source={kind: scripted_motion_drawn, split: val, frames: 4}"
    config, launch = tiny(
        tmp_path, "steps=4", held_out, "validation.every=2", "validation.samples=8", "checkpoint.best=order_accuracy"
    )
    begin(config, launch)
    measured = records(tmp_path / "run", "validation")
    assert [record["step"] for record in measured] == [2, 4]
    names = {"base", "sort", "alignment_accuracy", "position_accuracy", "order_accuracy"}
    assert all(set(record["validation"]) == names for record in measured)
    assert measured[0]["chance"] == {"alignment_accuracy": 12.5, "position_accuracy": 50.0, "order_accuracy": 50.0}
    remark = read_status(tmp_path / "run").get("not_learned")
    assert remark == ordering.not_learned("k_way", 2, measured[-1]["validation"])
    best = torch.load(tmp_path / "run/checkpoints/best.pt", weights_only=True)
    assert best["best"] == max(record["validation"]["order_accuracy"] for record in measured)


def test_validation_changes_no_weight(tmp_path: Path) -> None:
    held_out = "validation.source={kind: scripted_motion_drawn, split: val, frames: 4}"
    plain = begin(*tiny(tmp_path / "a", "steps=4"))
    looked = begin(*tiny(tmp_path / "b", "steps=4", held_out, "validation.every=1", "validation.samples=4"))
    first, second = (torch.load(p.parent / "checkpoints/last.pt", weights_only=True)["model"] for p in (plain, looked))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_held_out_sorting_is_measured_in_single_precision(tmp_path: Path, monkeypatch: Any) -> None:
    held_out = "validation.source={kind: scripted_motion_drawn, split: val, frames: 4}"
    kinds = []

    def watched(modelling: Any, logits: torch.Tensor, order: Any) -> ordering.Sorting:
        kinds.append(logits.dtype)
        return ordering.sorting(modelling, logits, order)

    monkeypatch.setattr("pretrain.validation.sorting", watched)
    begin(*tiny(tmp_path, "steps=1", held_out, "validation.every=1", "validation.samples=4", "optim.precision=bf16"))
    assert kinds == [torch.float32]


def test_held_out_data_that_is_not_there_ends_the_run_when_it_begins(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ssv3"):
        begin(*tiny(tmp_path, "validation.dataset=ssv3", "validation.every=5"))
    assert not records(tmp_path / "run")
    begin(*tiny(tmp_path / "short", "validation.dataset=ssv3", "validation.every=5", "steps=1"))  # never looks
