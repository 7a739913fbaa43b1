"""Training: the losses do not drift, ranks and micro-batches take the same step, what goes wrong ends the run."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pretrain.assembly import build_loader, build_model, build_sources, build_tokenizer, total_steps
from pretrain.config import RunConfig
from pretrain.data.drawn import StoryIndex, frames_of, words_heard
from pretrain.model.tvts import TVTS
from pretrain.objectives.health import NoNegativesError
from pretrain.runlog import read_status
from pretrain.runs import DivergedError, begin
from pretrain.step import StepSettings, backward
from pretrain.text_start import hide_words, pretrain_text
from pretrain.train import step_settings
from tests.pretrain.tiny_run import tiny
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.training.ranks import Rank

Golden = Callable[[str, Any], Any]


def records(run: Path, kind: str = "loss") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if kind in line]


def test_ten_losses_of_a_seeded_run_are_those_of_before(tmp_path: Path, golden: Golden) -> None:
    config, place = tiny(tmp_path)
    written = begin(config, place)
    logged = records(tmp_path / "run")
    assert [record["step"] for record in logged] == list(range(1, 11))
    parts = {name: [round(record[name], 5) for record in logged] for name in ("loss", "base", "sort")}
    stored = golden("pretraining_losses.json", parts)
    for name, losses in parts.items():  # other processors and BLAS libraries round otherwise, and that grows
        assert losses == pytest.approx(stored[name], rel=2e-3), name
    assert all(record["loss"] == pytest.approx(record["base"] + 2 * record["sort"], rel=1e-5) for record in logged)
    assert logged[0]["chance"] == {"alignment_accuracy": 25.0, "position_accuracy": 50.0, "order_accuracy": 50.0}
    assert all(record["clips_per_second"] > 0 for record in logged)
    assert max(record["lr"] for record in logged) == pytest.approx(1e-3)
    assert read_status(tmp_path / "run")["outcome"] == "finished"
    backbone = load_backbone("tvts", written)
    assert backbone.embed_dim == 32


def gradients(config: RunConfig, accumulate: int, rank: Rank | None = None) -> tuple[dict[str, torch.Tensor], float]:
    sources = build_sources(config, None)
    tokenizer = build_tokenizer(config, sources)
    loader = build_loader(config, sources, tokenizer, Rank(), 0)
    model = build_model(config, tokenizer).train()
    batch = next(iter(loader.batches(0, 1)))
    settings = replace(step_settings(config, Rank()), accumulate=accumulate)
    result = backward(model, batch, 0, config.objective, settings, look=True)
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return grads, float(result.loss.total.detach())


@pytest.mark.parametrize("sort", ["k_way", "factorial"])
def test_micro_batches_give_the_gradient_of_the_whole_batch(tmp_path: Path, sort: str) -> None:
    config, _ = tiny(tmp_path, "text.dropout=0", "batch_size=5", f"objective.sort={sort}")
    whole, loss = gradients(config, 1)
    parts, loss_of_parts = gradients(config, 3)  # 5 rows in parts of 1, 2 and 2: negatives are those of all 5
    assert loss_of_parts == pytest.approx(loss, rel=1e-6)
    assert whole.keys() == parts.keys()
    for name, grad in whole.items():
        rounding = 1e-6 + 1e-5 * float(
            grad.abs().max()
        )  # sums in another order; small entries are differences of large ones
        torch.testing.assert_close(parts[name], grad, rtol=1e-4, atol=rounding, msg=name)


def test_micro_batches_run_twice_with_the_same_dropout(tmp_path: Path) -> None:
    """With one row a part and dropout on, the second pass must repeat the first for the gradient to be one at all."""
    config, _ = tiny(tmp_path, "text.dropout=0.5", "objective.align=true", "batch_size=4")
    seen: list[torch.Tensor] = []

    def watch(module: nn.Module, arguments: Any, output: Any) -> None:
        seen.append(output.last_hidden_state.detach().clone())

    sources = build_sources(config, None)
    tokenizer = build_tokenizer(config, sources)
    batch = next(iter(build_loader(config, sources, tokenizer, Rank(), 0).batches(0, 1)))
    model = build_model(config, tokenizer).train()
    model.text_model.register_forward_hook(watch)
    settings: StepSettings = replace(step_settings(config, Rank()), accumulate=2)
    backward(model, batch, 0, config.objective, settings, look=False)
    first, second, first_again, second_again = seen
    torch.testing.assert_close(first_again, first)
    torch.testing.assert_close(second_again, second)
    assert not torch.equal(first, second)


def test_a_loss_that_is_not_a_number_ends_the_run_and_is_recorded(tmp_path: Path, monkeypatch: Any) -> None:
    config, place = tiny(tmp_path, "checkpoint.every_steps=2")
    forward = TVTS.forward
    calls = []

    def poisoned(self: TVTS, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        output = forward(self, *args, **kwargs)
        assert output.video is not None
        return replace(output, video=output.video * (float("nan") if len(calls) == 5 else 1.0))

    monkeypatch.setattr(TVTS, "forward", poisoned)
    with pytest.raises(DivergedError, match="the loss is nan at step 5"):
        begin(config, place)
    status = read_status(tmp_path / "run")
    assert status["outcome"] == "failed"
    assert "nan at step 5" in status["reason"]
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["step"] == 4


def test_embeddings_that_stay_alike_end_the_run(tmp_path: Path, monkeypatch: Any) -> None:
    config, place = tiny(tmp_path, "collapse_after=3")
    forward = TVTS.forward

    def flat(self: TVTS, *args: Any, **kwargs: Any) -> Any:
        output = forward(self, *args, **kwargs)
        assert output.text is not None
        return replace(output, text=output.text * 0 + 1)

    monkeypatch.setattr(TVTS, "forward", flat)
    with pytest.raises(DivergedError, match="all text embeddings have been alike for 3 steps up to step 3"):
        begin(config, place)
    assert read_status(tmp_path / "run")["outcome"] == "failed"


def test_a_batch_of_one_has_no_negatives(tmp_path: Path) -> None:
    config, place = tiny(tmp_path, "batch_size=1")
    with pytest.raises(NoNegativesError, match="global batch of 1"):
        begin(config, place)
    assert read_status(tmp_path / "run")["outcome"] == "failed"


def test_held_out_measures_are_logged_beside_chance(tmp_path: Path) -> None:
    held_out = "validation.source={kind: scripted_motion_drawn, split: val, frames: 4}"
    config, place = tiny(
        tmp_path, "steps=4", held_out, "validation.every=2", "validation.samples=8", "checkpoint.best=order_accuracy"
    )
    begin(config, place)
    measured = records(tmp_path / "run", "validation")
    assert [record["step"] for record in measured] == [2, 4]
    names = {"base", "sort", "alignment_accuracy", "position_accuracy", "order_accuracy"}
    assert all(set(record["validation"]) == names for record in measured)
    assert measured[0]["chance"] == {"alignment_accuracy": 12.5, "position_accuracy": 50.0, "order_accuracy": 50.0}
    best = torch.load(tmp_path / "run/checkpoints/best.pt", weights_only=True)
    assert best["best"] == max(record["validation"]["order_accuracy"] for record in measured)


def test_validation_changes_no_weight(tmp_path: Path) -> None:
    held_out = "validation.source={kind: scripted_motion_drawn, split: val, frames: 4}"
    plain = begin(*tiny(tmp_path / "a", "steps=4"))
    looked = begin(*tiny(tmp_path / "b", "steps=4", held_out, "validation.every=1", "validation.samples=4"))
    first, second = (torch.load(p.parent / "checkpoints/last.pt", weights_only=True)["model"] for p in (plain, looked))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_epochs_are_passes_over_the_first_source(tmp_path: Path) -> None:
    config, _ = tiny(tmp_path, "epochs=2", "batch_size=1000")
    sources = build_sources(config, None)
    loader = build_loader(config, sources, build_tokenizer(config, sources), Rank(), 0)
    assert total_steps(config, loader) == 200  # 100,000 stories


def test_drawn_frames_and_words_are_those_of_the_story() -> None:
    story = StoryIndex("train").story(3)
    wanted = torch.arange(0, story.num_frames, 7).numpy()
    assert (frames_of(story, wanted) == story.frames()[wanted]).all()
    assert words_heard(story)[0].text == story.utterances[0].words[0].text
    assert words_heard(story)[-1].start == story.utterances[-1].words[-1].time / 1000


def test_the_text_encoder_learns_the_transcripts_words(tmp_path: Path) -> None:
    config, _ = tiny(tmp_path, "init.text_steps=40", "init.text_batch=32", "text.dropout=0")
    sources = build_sources(config, None)
    tokenizer = build_tokenizer(config, sources)
    losses = []
    for steps in (2, 60):
        model = build_model(config, tokenizer)
        losses.append(pretrain_text(model.text_model, tokenizer, sources, config, steps, "cpu"))
    assert losses[1] < losses[0] - 0.5


def test_hidden_words_are_asked_for_and_padding_never() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 50, (200, 20), generator=generator)
    ids[:, 0] = 2  # [CLS]
    mask = torch.ones_like(ids)
    ids[:, 15:], mask[:, 15:] = 0, 0
    shown, asked = hide_words(ids, mask, 50, generator)
    assert not asked[:, 0].any()
    assert not asked[:, 15:].any()
    assert float(asked[:, 1:15].float().mean()) == pytest.approx(0.15, abs=0.02)
    assert torch.equal(shown[~asked], ids[~asked])
    assert float((shown[asked] == 3).float().mean()) == pytest.approx(0.8, abs=0.05)
