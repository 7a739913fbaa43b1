"""One step of pretraining (forward, backward, optimiser) against the same model without our savings, and the loader.

    python benchmarks/pretraining.py                    the tiny and the base size; three minutes on two cores
    python benchmarks/pretraining.py --threads 1        processor time of one thread: for a busy machine
    python benchmarks/pretraining.py --device cuda --batch 32 --compile

Peers, with plain products and a softmax for attention: *embeds all* computes every patch and then drops those that are
masked, as MAE's code does; *drops none* runs all of them through the encoder. Ours drops patches before they are
embedded and lets torch fuse attention. All take turns over the same batch, and the best time of each counts. The loader
is measured alone and compared with what the step takes.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from pretrain.assembly import build_loader, build_sources, build_tokenizer
from pretrain.config import compose
from pretrain.data.batches import NarratedBatch
from pretrain.model.text import TextConfig, TextTokenizer
from pretrain.model.tvts import TVTS, TVTSConfig
from pretrain.step import StepSettings, backward
from tvts_bench.distributed import Rank
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig
from tvts_bench.training.optim import build_optimizer
from tvts_bench.training.recipe import OptimConfig, Precision

WORDS = 2_000  # of the vocabulary; its size hardly matters
BASE = TVTSConfig(text=TextConfig(name=None, dim=768, depth=6, num_heads=12, max_tokens=50, dropout=0.1))


@dataclass(frozen=True, kw_only=True)
class Size:
    """A model and the batch that its step is timed with."""

    name: str
    model: TVTSConfig
    batch: int


def sizes(base_batch: int) -> tuple[Size, ...]:
    """The shipped preset with its own batch, and the paper's model."""
    tiny = compose("scripted_motion_tiny", [])[0]
    return (
        Size(name="tiny", model=tiny.network, batch=tiny.data.batch_size),
        Size(name="base", model=BASE, batch=base_batch),
    )


def random_batch(size: Size, words: int) -> NarratedBatch:
    """Noise of the right shapes: texts of 16 words."""
    generator = torch.Generator().manual_seed(0)
    video, segments = size.model.video, size.model.objective.segments
    shape = (size.batch, 3, video.num_frames, video.image_size, video.image_size)
    return NarratedBatch(
        clips=torch.randint(256, shape, generator=generator, dtype=torch.uint8),
        input_ids=torch.randint(4, words, (size.batch, segments, 16), generator=generator),
        attention_mask=torch.ones(size.batch, segments, 16, dtype=torch.int64),
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

    def embedding_all() -> None:
        with unfused(model), embeds_all(model.video_model):
            step()

    def dropping_none() -> None:
        whole = model.config
        with unfused(model):
            model.config = replace(whole, mask=0.0)
            step()
            model.config = whole

    return {"drops none, unfused": dropping_none, "embeds all, unfused": embedding_all, "ours": step}


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


def loader_rate(batches: int) -> float:
    """Clips a second that one process draws of the embedded world's stories."""
    config, _ = compose("scripted_motion_tiny", [])
    sources = build_sources(config, None)
    loader = build_loader(config, sources, build_tokenizer(config, sources), Rank(), workers=0)
    start = None
    for number, _ in enumerate(loader.batches(0, batches + 1)):
        if number == 0:
            start = time.perf_counter()
    assert start is not None
    return batches * config.data.batch_size / (time.perf_counter() - start)


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
    parser.add_argument("--rounds", type=int, default=3, help="turns of each variant; the best counts")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console = Console(width=110)
    found = {
        size: take_turns(steps(size, options.device, options.precision, options.compile), options.rounds)
        for size in sizes(options.batch)
    }
    console.print(report(found))
    for size, best in found.items():
        video = size.model.video
        kept = int(video.grid**2 * (1 - size.model.mask)) * video.num_frames // video.tubelet
        rate = 3 * size.batch * gflop(video, 1 + kept) / best["ours"]
        console.print(
            f"{size.name}: the video encoder's own work, forward and backward, is {rate:.0f} GFLOP/s of the step"
        )
    rate = loader_rate(10)
    tiny = next(size for size in found if size.name == "tiny")
    console.print(f"drawing stories: {rate:.0f} clips/s a process, {rate * found[tiny]['ours'] / tiny.batch:.1f} times "
                  "what the tiny step takes")  # fmt: skip


if __name__ == "__main__":
    main()
