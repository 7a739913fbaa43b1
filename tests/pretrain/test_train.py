"""Training: the losses do not drift, ranks and micro-batches take the same step, what goes wrong ends the run."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from pretrain.assembly import build_loader, build_model, build_sources, build_tokenizer, total_steps
from pretrain.config import RunConfig
from pretrain.data.batches import NarratedBatch
from pretrain.data.cropping import CropConfig
from pretrain.data.drawn import DrawnSource, StoryIndex, frames_of, words_heard
from pretrain.data.loading import NarratedLoader, TooManyFailuresError
from pretrain.data.segments import SegmentConfig
from pretrain.data.sources import SourceConfig, SourceConfigError, build_source
from pretrain.model.tvts import TVTS
from pretrain.objectives import ordering
from pretrain.run_folder import read_status
from pretrain.runs import DivergedError, begin
from pretrain.schema import ConfigError
from pretrain.step import StepSettings, backward
from pretrain.task import step_settings
from pretrain.text_start import MaskedWords, hide_words, pretrain_text
from tests.pretrain.tiny_run import tiny
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.datasets.scripted_motion import World, make_world, narration
from tvts_bench.datasets.scripted_motion.world import StoryConfig
from tvts_bench.distributed import Rank
from tvts_bench.errors import UserError
from tvts_bench.signals import StoppedError
from tvts_bench.training.optim import clip_gradient
from tvts_bench.video.packet_index import VideoDecodeError

Golden = Callable[[str, Any], Any]


def records(run: Path, kind: str = "loss") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if kind in line]


def test_ten_losses_of_a_seeded_run_are_those_of_before(tmp_path: Path, golden: Golden) -> None:
    config, launch = tiny(tmp_path)
    written = begin(config, launch)
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


def gradients(config: RunConfig, accumulate: int) -> tuple[dict[str, torch.Tensor], float]:
    sources = build_sources(config, None)
    tokenizer = build_tokenizer(config, sources)
    loader = build_loader(config, sources, tokenizer, Rank(), 0)
    model = build_model(config, tokenizer).train()
    batch = next(iter(loader.batches(0, 1)))
    settings = replace(step_settings(config, Rank()), accumulate=accumulate)
    result = backward(model, batch, 0, config.objective, settings, look=True)
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return grads, float(result["loss"].detach())


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
    config, launch = tiny(tmp_path, "checkpoint.every_steps=2")
    forward = TVTS.forward
    calls = []

    def poisoned(self: TVTS, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        output = forward(self, *args, **kwargs)
        assert output.video is not None
        return replace(output, video=output.video * (float("nan") if len(calls) == 5 else 1.0))

    monkeypatch.setattr(TVTS, "forward", poisoned)
    with pytest.raises(DivergedError, match="the loss is nan at step 5"):
        begin(config, launch)
    status = read_status(tmp_path / "run")
    assert status["outcome"] == "failed"
    assert "nan at step 5" in status["reason"]
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["step"] == 4


def test_embeddings_that_stay_alike_end_the_run(tmp_path: Path, monkeypatch: Any) -> None:
    config, launch = tiny(tmp_path, "collapse_after=3")
    forward = TVTS.forward

    def flat(self: TVTS, *args: Any, **kwargs: Any) -> Any:
        output = forward(self, *args, **kwargs)
        assert output.text is not None
        return replace(output, text=output.text * 0 + 1)

    monkeypatch.setattr(TVTS, "forward", flat)
    with pytest.raises(DivergedError, match="all text embeddings have been alike for 3 steps up to step 3"):
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
    with pytest.raises(DivergedError, match="the norm of the gradient is nan at step 3"):
        begin(config, launch)
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["step"] == 2


def test_data_that_fails_in_the_middle_costs_no_step(tmp_path: Path, monkeypatch: Any) -> None:
    config, launch = tiny(tmp_path, "checkpoint.every_steps=0", "data.strict=true")
    sample = DrawnSource.sample
    calls = []

    def broken(self: DrawnSource, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == 14:  # of the fourth batch
            raise VideoDecodeError(Path("some.mp4"), "it is gone")
        return sample(self, *args, **kwargs)

    monkeypatch.setattr(DrawnSource, "sample", broken)
    with pytest.raises(TooManyFailuresError, match=r"cannot read some\.mp4: it is gone"):
        begin(config, launch)
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["step"] == 3
    assert [record["step"] for record in records(tmp_path / "run")] == [1, 2, 3]


def test_stories_too_short_for_the_segments_are_an_error_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceConfigError, match=r"do not hold 6 segments of 20 s, or at least 15 s, 1 s apart"):
        begin(*tiny(tmp_path, "objective.segments=6", "data.lengths=[20.0]", "data.min_length=15"))


def test_held_out_clips_of_which_none_can_be_read_are_an_error(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / "videos" / "walk").mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / "walk" / f"{number}.mp4").write_bytes(b"no video")
    look = (f"validation.root={tmp_path / 'videos'}", "validation.dataset=folder", "validation.every=2")
    with pytest.raises(UserError, match=r"dataset=folder fewer than 2 can be read: .*0\.mp4"):
        begin(*tiny(tmp_path, *look))
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["step"] == 2  # resume with another root


def test_collapse_is_counted_over_steps_that_nobody_looked_at_and_across_states(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """Looked at in steps 4 and 8; the states of steps 3, 6 and 9 must not begin the count anew."""
    config, _ = tiny(tmp_path, "collapse_after=8", "checkpoint.every_steps=3")
    launch = replace(tiny(tmp_path)[1], log_every=4)
    forward = TVTS.forward

    def flat(self: TVTS, *args: Any, **kwargs: Any) -> Any:
        output = forward(self, *args, **kwargs)
        assert output.text is not None
        return replace(output, text=output.text * 0 + 1)

    monkeypatch.setattr(TVTS, "forward", flat)
    with pytest.raises(DivergedError, match="text embeddings have been alike for 8 steps up to step 8"):
        begin(config, launch)
    looked = [record["step"] for record in records(tmp_path / "run") if "text_collapsed" in record]
    assert looked == [4, 8]  # a step that was not looked at claims nothing
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["alike"] == 4  # of step 6


def test_a_step_of_captions_logs_no_sorting(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / "images/0").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (number * 60,) * 3).save(tmp_path / f"images/0/{number}.png")
        (tmp_path / f"images/0/{number}.txt").write_text(f"picture {number}")
    images = f"{{kind: cc3m, root: {tmp_path / 'images'}, frames: 1}}"
    sources = f"data.sources=[{{kind: scripted_motion_drawn, frames: 4}}, {images}]"
    begin(*tiny(tmp_path, "steps=4", sources, f"cache={tmp_path}"))
    narrated, captions = records(tmp_path / "run")[0], records(tmp_path / "run")[1]
    assert {"sort", "order_accuracy", "position_accuracy"} < narrated.keys()
    assert not {"sort", "order_accuracy", "position_accuracy"} & captions.keys()
    assert captions["chance"] == {"alignment_accuracy": 25.0}
    assert captions["loss"] == pytest.approx(captions["base"])


def test_whatever_ends_a_run_is_recorded(tmp_path: Path, monkeypatch: Any) -> None:
    def out_of_memory(self: TVTS, *_: Any, **__: Any) -> Any:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(TVTS, "forward", out_of_memory)
    with pytest.raises(RuntimeError, match="out of memory"):
        begin(*tiny(tmp_path))
    status = read_status(tmp_path / "run")
    assert (status["outcome"], status["reason"]) == ("failed", "CUDA out of memory")


def test_workers_that_die_of_the_same_signal_do_not_hide_it(tmp_path: Path, monkeypatch: Any) -> None:
    batches = NarratedLoader.batches

    def dying(self: NarratedLoader, start: int, stop: int) -> Iterator[NarratedBatch]:
        yield from batches(self, start, 5)
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("DataLoader worker (pid 1) exited unexpectedly")

    monkeypatch.setattr(NarratedLoader, "batches", dying)
    with pytest.raises(StoppedError):
        begin(*tiny(tmp_path))
    assert read_status(tmp_path / "run")["outcome"] == "interrupted"


def test_a_batch_of_one_has_no_negatives(tmp_path: Path) -> None:
    config, launch = tiny(tmp_path, "batch_size=1")
    with pytest.raises(UserError, match="global batch of 1"):
        begin(config, launch)
    assert read_status(tmp_path / "run")["outcome"] == "failed"


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


def test_files_and_drawn_samples_tell_the_same_stories(tmp_path: Path) -> None:
    """The first drawn stories are those that `make-data` writes, with the words of their files' first telling."""
    stories = StoryConfig(undone_share=50, topic_share=100)
    world = World(narrated_train=2).telling(stories)
    make_world(tmp_path, world, parts=("narrated-train",), workers=0)
    drawn = StoryIndex("train", stories)
    for number, path in enumerate(sorted(tmp_path.glob("yt_temporal/videos/*/annotations/*.json"))):
        written, story = json.loads(path.read_text()), drawn.story(number)
        assert written["info"]["id"] == story.name == path.stem
        assert written == narration.annotation(story)
        heard = [(word["word"], word["time"]) for word in written["subtitles"]]
        assert heard == [(word.text, word.start) for word in words_heard(story)]


def test_stories_of_another_world_are_refused(tmp_path: Path) -> None:
    make_world(tmp_path, World(narrated_train=1), parts=("narrated-train",), workers=0)
    wanted = SourceConfig(kind="scripted_motion", root=tmp_path, stories=StoryConfig(undone_share=0))
    with pytest.raises(
        SourceConfigError, match=r"tells other stories, .*undone_share=100.*undone_share=0.*another root"
    ):
        build_source(wanted, SegmentConfig(), CropConfig(size=32, short_side=36), cache=tmp_path / "cache")
    with pytest.raises(ConfigError, match=r"stories\.undone_share is a percentage|undone_share is a percentage from 0"):
        tiny(tmp_path, "data.sources.0.stories={undone_share: 101}")
    with pytest.raises(SourceConfigError, match="stories are told in scripted_motion alone, not in folder"):
        SourceConfig(kind="folder", root=tmp_path, stories=StoryConfig())


def test_encoders_can_go_from_one_kind_of_stories_to_the_other(tmp_path: Path) -> None:
    """The vocabulary is all that can be said, whatever the source tells."""
    kinds = ("data.sources.0.stories={undone_share: 0, topic_share: 0}", "data.sources.0.stories={chatter_share: 100}")
    rules = {
        build_tokenizer(each, build_sources(each, None)).rules for each in (tiny(tmp_path, kind)[0] for kind in kinds)
    }
    assert len(rules) == 1


def test_the_text_encoder_learns_the_transcripts_words(tmp_path: Path) -> None:
    config, _ = tiny(tmp_path, "init.text_steps=40", "init.text_batch=32", "text.dropout=0")
    sources = build_sources(config, None)
    tokenizer = build_tokenizer(config, sources)
    losses = []
    for steps in (2, 60):
        model = build_model(config, tokenizer)
        losses.append(pretrain_text(model.text_model, tokenizer, sources, config, steps, "cpu"))
    assert losses[1] < losses[0] - 0.5


def test_a_batch_without_a_hidden_word_is_no_nan(tmp_path: Path) -> None:
    config, _ = tiny(tmp_path, "text.dropout=0")
    sources = build_sources(config, None)
    tokenizer = build_tokenizer(config, sources)
    guess = MaskedWords(build_model(config, tokenizer).text_model, len(tokenizer))
    ids, mask = tokenizer(["left right"])
    loss = guess(ids, mask, ids, torch.zeros_like(mask, dtype=torch.bool))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in guess.text_model.parameters() if p.grad is not None)


def test_a_trained_text_encoder_is_not_pretrained_again(tmp_path: Path) -> None:
    begin(*tiny(tmp_path / "first", "steps=1"))
    earlier = f"init.checkpoint={tmp_path / 'first/run/checkpoints/last.pt'}"
    with pytest.raises(ConfigError, match=r"init\.text_steps=2 would train anew"):
        begin(*tiny(tmp_path / "second", earlier, "init.text_steps=2"))
    begin(*tiny(tmp_path / "third", earlier, "steps=1"))


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
