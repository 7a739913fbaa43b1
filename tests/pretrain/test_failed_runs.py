"""Training that fails: no number, or embeddings that are all alike."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pretrain.model.tvts import TVTS
from pretrain.run_folder import read_status
from pretrain.runs import begin
from pretrain.task import CollapsedError
from tests.support.tiny_run import records, tiny
from tvts_bench.training.metric_logger import NonFiniteLossError
from tvts_bench.training.optim import clip_gradient


def test_a_loss_that_is_not_a_number_ends_the_run_and_is_recorded(tmp_path: Path, monkeypatch: Any) -> None:
    config, launch = tiny(tmp_path, "checkpoint.every_steps=2")
    forward = TVTS.forward
    calls = []

    def poisoned(self: TVTS, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        output = forward(self, *args, **kwargs)
        assert output.video is not None
        return replace(output, video=output.video * (float("nan") if len(calls) == 5 else 1.0))

    monkeypatch.setattr(TVTS, "forward", poisoned)
    with pytest.raises(NonFiniteLossError, match="the loss is nan at step 5"):
        begin(config, launch)
    status = read_status(tmp_path / "run")
    assert status["outcome"] == "failed"
    assert "nan at step 5" in status["reason"]
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["step"] == 4


def flat_texts(monkeypatch: Any) -> None:
    """Make all texts look alike to whatever tells a collapse."""
    forward = TVTS.forward

    def flat(self: TVTS, *args: Any, **kwargs: Any) -> Any:
        output = forward(self, *args, **kwargs)
        assert output.text is not None
        return replace(output, text=output.text * 0 + 1)

    monkeypatch.setattr(TVTS, "forward", flat)


def test_embeddings_that_stay_alike_end_the_run(tmp_path: Path, monkeypatch: Any) -> None:
    config, launch = tiny(tmp_path, "collapse_after=3")
    flat_texts(monkeypatch)
    with pytest.raises(CollapsedError, match="all text embeddings have been alike for 3 steps up to step 3"):
        begin(config, launch)
    assert read_status(tmp_path / "run")["outcome"] == "failed"


def flat_clips(monkeypatch: Any) -> None:
    """Make all clips look alike to whatever tells a collapse."""
    forward = TVTS.forward

    def flat(self: TVTS, *args: Any, **kwargs: Any) -> Any:
        output = forward(self, *args, **kwargs)
        if output.video is None:
            assert output.clip_cls is not None
            return replace(output, clip_cls=torch.ones_like(output.clip_cls))
        return replace(output, video=output.video * 0 + 1)

    monkeypatch.setattr(TVTS, "forward", flat)


@pytest.mark.parametrize("target", ["transcript", "merlot_like"])
def test_without_l_base_a_collapse_is_said_and_training_goes_on(
    tmp_path: Path, monkeypatch: Any, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    """Nothing in L_sort compares clips with each other, so alike clips are no failure of what was asked for."""
    sort_only = ("objective.align=false", f"objective.target={target}", "steps=4", "collapse_after=2")
    flat_clips(monkeypatch)
    begin(*tiny(tmp_path, *sort_only))
    assert read_status(tmp_path / "run")["outcome"] == "finished"
    assert caplog.text.count("all video embeddings have been alike for 2 steps up to step 2") == 1
    assert "alike for 3 steps" not in caplog.text
    assert "the text encoder stays as it starts" in caplog.text


def test_a_collapsed_text_side_without_l_base_is_seen_in_micro_batches_too(tmp_path: Path, caplog: Any) -> None:
    """Segments cut after [CLS] are all alike."""
    alone = ("objective.align=false", "objective.stop_gradient=false", "text.max_tokens=1", "text.dropout=0")
    begin(*tiny(tmp_path, *alone, "steps=2", "collapse_after=2", "optim.accumulate=2"))
    assert "all text embeddings have been alike for 2 steps" in caplog.text
    assert "the text encoder stays as it starts" not in caplog.text


def test_a_gradient_that_is_not_a_number_is_found_before_it_is_saved(tmp_path: Path, monkeypatch: Any) -> None:
    config, launch = tiny(tmp_path, "checkpoint.every_steps=1")
    calls = []

    def poisoned(*args: Any) -> torch.Tensor:
        calls.append(1)
        return clip_gradient(*args) * (float("nan") if len(calls) == 3 else 1.0)

    monkeypatch.setattr("tvts_bench.training.trainer.clip_gradient", poisoned)
    with pytest.raises(NonFiniteLossError, match="the norm of the gradient is nan at step 3"):
        begin(config, launch)
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["step"] == 2


def test_collapse_is_counted_over_steps_that_nobody_looked_at_and_across_states(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """Looked at in steps 4 and 8; the states of steps 3, 6 and 9 must not begin the count anew."""
    config, _ = tiny(tmp_path, "collapse_after=8", "checkpoint.every_steps=3")
    launch = replace(tiny(tmp_path)[1], log_every=4)
    flat_texts(monkeypatch)
    with pytest.raises(CollapsedError, match="text embeddings have been alike for 8 steps up to step 8"):
        begin(config, launch)
    looked = [record["step"] for record in records(tmp_path / "run") if "text_collapsed" in record]
    assert looked == [4, 8]  # a step that was not looked at claims nothing
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["collapsed_steps"] == 4  # of step 6
