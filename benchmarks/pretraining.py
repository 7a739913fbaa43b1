"""One step of pretraining (forward, backward, optimiser) against the same model without our savings, and the loader.

    python benchmarks/pretraining.py                    the quick, tiny and base sizes; four minutes on two cores
    python benchmarks/pretraining.py --threads 1        processor time of one thread: for a busy machine
    python benchmarks/pretraining.py --device cuda --batch 32 --compile

Peers: *whole layers* computes every token in the last layers, of which only [CLS] and the items of the sorter are read.
With plain products and a softmax for attention, *embeds all* also computes every patch and then drops those that are
masked, as MAE's code does, and *drops none* runs all of them through the encoder. Ours drops patches before they are
embedded, computes only what is read, and lets torch fuse attention. All take turns over the same batch, and the best
time of each counts. Then the parts of the quick preset's step, with loading, and of mini's, whose stories are drawn.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from pretrain.assembly import build_loader, build_sources, build_tokenizer
from pretrain.config import compose
from pretrain.data.loading import NarratedBatch
from pretrain.model import sorter, tvts
from pretrain.model.text import TextConfig, TextTokenizer
from pretrain.model.tvts import TVTS, TVTSConfig
from pretrain.objectives.losses import step_loss
from pretrain.step import StepSettings, backward, presentations
from tvts_bench.distributed import Rank
from tvts_bench.models import vit
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig
from tvts_bench.training.optim import build_optimizer
from tvts_bench.training.recipe import OptimConfig, Precision
from tvts_bench.video.spec import IMAGENET_MEAN, IMAGENET_STD
from tvts_bench.video.transforms import normalise

WORDS = 2_000  # of the vocabulary; its size hardly matters
BASE = TVTSConfig(text=TextConfig(name=None, dim=768, depth=6, num_heads=12, max_tokens=50, dropout=0.1))


@dataclass(frozen=True, kw_only=True)
class Size:
    """A model and the batch that its step is timed with."""

    name: str
    model: TVTSConfig
    batch: int


def sizes(base_batch: int) -> tuple[Size, ...]:
    """Shipped presets with their own batch, and the paper's model."""
    presets = {name: compose(f"scripted_motion_{name}", [])[0] for name in ("quick", "tiny")}
    return (
        *(Size(name=name, model=each.network, batch=each.data.batch_size) for name, each in presets.items()),
        Size(name="base", model=BASE, batch=base_batch),
    )


def random_batch(size: Size, words: int) -> NarratedBatch:
    """Noise of the right shapes: texts of 16 words, or as many as the text encoder takes."""
    generator = torch.Generator().manual_seed(0)
    video, segments, length = size.model.video, size.model.objective.segments, min(16, size.model.text.max_tokens)
    shape = (size.batch, 3, video.num_frames, video.image_size, video.image_size)
    return NarratedBatch(
        clips=torch.randint(256, shape, generator=generator, dtype=torch.uint8),
        input_ids=torch.randint(4, words, (size.batch, segments, length), generator=generator),
        attention_mask=torch.ones(size.batch, segments, length, dtype=torch.int64),
        segments=torch.full((size.batch,), segments),
        ids=tuple(map(str, range(size.batch))),
        seeds=torch.arange(size.batch),
    )


@contextmanager
def embeds_all(encoder: VideoTransformer) -> Iterator[None]:
    """Every patch is embedded, and those to keep are picked out afterwards."""
    ours = encoder.patch_embed.forward

    def embed(clips: Tensor, keep: Tensor | None = None) -> Tensor:
        patches = ours(clips)
        if keep is None:
            return patches
        return patches.gather(1, keep[..., None].expand(-1, -1, patches.shape[-1]))

    encoder.patch_embed.forward = embed  # type: ignore[method-assign]
    try:
        yield
    finally:
        encoder.patch_embed.forward = ours  # type: ignore[method-assign]


@contextmanager
def whole_layers() -> Iterator[None]:
    """Every token of a last layer is computed, and those that are read picked out afterwards."""

    def all_rows(block: nn.Module, x: Tensor, rows: slice) -> Tensor:
        return block(x)[:, rows]  # type: ignore[no-any-return]

    def all_tokens(model: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden: Tensor = model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return hidden[:, 0]

    with ExitStack() as patches:
        for module in (vit, sorter):
            patches.enter_context(patch.object(module, "block_rows", all_rows))
        patches.enter_context(patch.object(tvts, "cls_tokens", all_tokens))
        yield


@contextmanager
def unfused(model: nn.Module) -> Iterator[None]:
    """timm's attention as plain products and a softmax."""
    attentions = [module for module in model.modules() if hasattr(module, "fused_attn")]
    for attention in attentions:
        attention.fused_attn = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for attention in attentions:
            attention.fused_attn = True  # type: ignore[assignment]


def steps(size: Size, device: str, precision: Precision, compiled: bool) -> dict[str, Callable[[], None]]:
    """What is timed, by name. All share one model, so that they differ in nothing else."""
    tokenizer = TextTokenizer.from_corpus([" ".join(f"word{i}" for i in range(WORDS))], 50)
    model = TVTS.seeded(size.model, tokenizer, 0).to(device).train()
    optimizer = build_optimizer(model, OptimConfig(lr=1e-6))
    batch = random_batch(size, WORDS).to(device)
    settings = StepSettings(seed=0, rank=0, device=device, precision=precision, accumulate=1)
    if compiled:
        model.video_model.compile()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        backward(model, batch, 0, size.model.objective, settings, look=False)
        optimizer.step()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    def computing_all() -> None:
        with whole_layers():
            step()

    def embedding_all() -> None:
        with unfused(model), whole_layers(), embeds_all(model.video_model):
            step()

    def dropping_none() -> None:
        whole = model.config
        with unfused(model), whole_layers():
            model.config = replace(whole, mask=0.0)
            step()
            model.config = whole

    return {
        "drops none, unfused": dropping_none,
        "embeds all, unfused": embedding_all,
        "whole layers": computing_all,
        "ours": step,
    }


def take_turns(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Best seconds of each, after one to warm up; processor seconds where there is only one thread."""
    on_gpu = torch.cuda.is_available()
    clock = time.process_time if torch.get_num_threads() == 1 and not on_gpu else time.perf_counter
    best: dict[str, float] = {}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if number:
                best[name] = min(best.get(name, float("inf")), clock() - start)
    return best


def gflop(config: VideoTransformerConfig, tokens: int) -> float:
    """10^9 operations of one forward pass of the video encoder over `tokens` tokens."""
    d = config.embed_dim
    stem = (tokens - 1) * 3 * config.tubelet * config.patch_size**2 * d
    block = tokens * d * d * (4 + 2 * config.mlp_ratio) + 2 * tokens * tokens * d
    return 2 * (stem + config.depth * block) / 1e9


def parts(preset: str, rounds: int) -> dict[str, float]:
    """Best seconds of each part of a preset's step, from real samples."""
    config, _ = compose(preset, ["init.start=null"])
    sources = build_sources(config, None)
    tokenizer = build_tokenizer(config, sources)
    batches = build_loader(config, sources, tokenizer, Rank(), workers=0).batches(0, 10_000)
    model = TVTS.seeded(config.network, tokenizer, 0).train()
    optimizer = build_optimizer(model, config.optim)
    batch = next(batches)
    shown, clips = presentations(model, batch), normalise(batch.clips, IMAGENET_MEAN, IMAGENET_STD)
    texts = batch.input_ids, batch.attention_mask

    def forward() -> Tensor:
        output = model(clips, *texts, batch.segments, shown)
        return step_loss(output, batch.segments, config.objective)["loss"]

    def backward_too() -> None:
        optimizer.zero_grad(set_to_none=True)
        forward().backward()  # type: ignore[no-untyped-call]  # as torch has it

    with torch.no_grad():
        tokens, words = model.video_model(clips, shown.keep), model.text_tokens(*texts)
    runs: dict[str, Callable[[], object]] = {
        "loading": lambda: next(batches),
        "masks and pixels": lambda: (presentations(model, batch), normalise(batch.clips, IMAGENET_MEAN, IMAGENET_STD)),
        "video": lambda: model.video_model(clips, shown.keep),
        "text": lambda: model.text_tokens(*texts),
        "sorter": lambda: model.pred_model(tokens, words),
        "forward": forward,
        "both ways": backward_too,
        "optimiser": optimizer.step,
    }
    best = take_turns(runs, 4 * rounds)
    best["backward"] = best.pop("both ways") - best["forward"]
    best["losses"] = best.pop("forward") - best["video"] - best["text"] - best["sorter"]
    return best


def report(found: dict[Size, dict[str, float]]) -> Table:
    """Ratios to the slowest in the same run."""
    table = Table(title="one step: forward, backward, optimiser")
    for column in ("model", "batch", "step", "clips/s", "times as fast"):
        table.add_column(column, justify="left" if column in ("model", "step") else "right")
    for size, best in found.items():
        for name, seconds in best.items():
            slowest = best["drops none, unfused"] / seconds
            table.add_row(size.name, str(size.batch), name, f"{size.batch / seconds:.2f}", f"{slowest:.2f}x")
    return table


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=2, help="of the base size")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true", help="the video encoder, with torch.compile")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="1: count processor time")
    parser.add_argument(
        "--size", action="append", choices=("quick", "tiny", "base"), help="not all of them; repeatable"
    )
    parser.add_argument("--rounds", type=int, default=3, help="turns of each variant; the best counts")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(width=110)
    found = {
        size: take_turns(steps(size, options.device, options.precision, options.compile), options.rounds)
        for size in sizes(options.batch)
        if size.name in (options.size or [size.name])
    }
    console.print(report(found))
    for size, best in found.items():
        video = size.model.video
        kept = int(video.grid**2 * (1 - size.model.mask)) * video.num_frames // video.tubelet
        rate = 3 * size.batch * gflop(video, 1 + kept) / best["ours"]
        console.print(
            f"{size.name}: the video encoder's own work, forward and backward, is {rate:.0f} GFLOP/s of the step"
        )
    for preset in ("quick", "mini"):
        seconds = parts(f"scripted_motion_{preset}", options.rounds)
        shares = ", ".join(f"{name} {1000 * each:.0f}" for name, each in seconds.items())
        console.print(f"{preset}: {1000 * sum(seconds.values()):.0f} ms a step in one process: {shares}")


if __name__ == "__main__":
    main()
