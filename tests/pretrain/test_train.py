"""Training: the losses do not drift, ranks and micro-batches take the same step, what goes wrong ends the run."""

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
from pretrain.data.loading import NarratedBatch, NarratedLoader
from pretrain.data.synthetic_source import DrawnSource
from pretrain.model.tvts import TVTS
from pretrain.run_folder import read_status
from pretrain.runs import begin
from pretrain.step import StepSettings, backward
from pretrain.task import step_settings
from tests.support.tiny_run import records, tiny
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.distributed import Rank
from tvts_bench.errors import UserError
from tvts_bench.signals import StoppedError
from tvts_bench.video.packet_index import VideoDecodeError

Golden = Callable[[str, Any], Any]


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
    with pytest.raises(UserError, match=r"cannot read some\.mp4: it is gone"):
        begin(config, launch)
    assert torch.load(tmp_path / "run/checkpoints/last.pt", weights_only=True)["step"] == 3
    assert [record["step"] for record in records(tmp_path / "run")] == [1, 2, 3]


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


def test_epochs_are_passes_over_the_first_source(tmp_path: Path) -> None:
    config, _ = tiny(tmp_path, "epochs=2", "batch_size=1000")
    sources = build_sources(config, None)
    loader = build_loader(config, sources, build_tokenizer(config, sources), Rank(), 0)
    assert total_steps(config, loader) == 200  # 100,000 stories
