"""The base encoder on 16 x 224 x 224 clips against the same network with unfused attention, and against the machine.

    python benchmarks/encoder.py                       about a minute on two cores
    python benchmarks/encoder.py --threads 1           processor time of one thread: for a busy machine
    python benchmarks/encoder.py --device cuda --batch 16

Peer: timm's blocks as they run without `scaled_dot_product_attention`, in fp32, as the official code does. Ours: the
backbone as features are extracted with it. All variants take turns, and the best time of each counts: other load on the
machine can only slow things down. The matrix-product rate is measured with the encoder's own shapes.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from tvts_bench.backbones.tvts import FAMILY, SIZES, TVTSBackbone
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig

CONFIG = SIZES["base"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Best seconds a batch, and what came out, [B, D]."""

    seconds: float
    output: Tensor


def gflop(config: VideoTransformerConfig, *, first_only: bool) -> float:
    """10^9 operations (a multiply-add is two) of a clip's matrix products.

    With `first_only` the last block serves [CLS] alone, as in `VideoTransformer.embed`.
    """
    n, d = 1 + config.num_patches, config.embed_dim
    stem = config.num_patches * 3 * config.tubelet * config.patch_size**2 * d
    rest = 2 + 2 * config.mlp_ratio  # of a token's products with d x d weights: query, projection, the MLP's two
    block = n * d * d * (rest + 2) + 2 * n * n * d  # 2: key and value; then scores and their product with the values
    last = n * d * d * 2 + d * d * rest + 2 * n * d if first_only else block
    return 2 * (stem + (config.depth - 1) * block + last) / 1e9


def autocast(device: str, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Mixed precision as in feature extraction; none for fp32."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(torch.device(device).type, dtype)


def timed(run: Callable[[], Tensor], device: str) -> tuple[float, Tensor]:
    """Seconds of one call, finished on the device, and its output; processor seconds if there is only one thread."""
    on_gpu = torch.device(device).type == "cuda"
    clock = time.process_time if torch.get_num_threads() == 1 and not on_gpu else time.perf_counter
    start = clock()
    output = run()
    if on_gpu:
        torch.cuda.synchronize(device)
    return clock() - start, output


def set_attention(encoder: VideoTransformer, *, fused: bool) -> None:
    """Switch timm's attention between `scaled_dot_product_attention` and plain products with a softmax."""
    for block in encoder.blocks:
        block.attn.fused_attn = fused  # type: ignore[union-attr]


def take_turns(runs: dict[str, Callable[[], Tensor]], device: str, rounds: int) -> dict[str, Measured]:
    """Each run once to warm up, then all in turns; the best of `rounds`."""
    best = {name: Measured(seconds=float("inf"), output=run()) for name, run in runs.items()}
    for _ in range(rounds):
        for name, run in runs.items():
            seconds, output = timed(run, device)
            best[name] = min(best[name], Measured(seconds=seconds, output=output), key=lambda m: m.seconds)
    return best


def products(device: str, dtype: torch.dtype, batch: int) -> Callable[[], Tensor]:
    """One block's matrix products with weights, on random numbers: the encoder's own shapes and nothing else."""
    d, tokens = CONFIG.embed_dim, batch * (1 + CONFIG.num_patches)
    shapes = ((d, 3 * d), (d, d), (d, CONFIG.mlp_ratio * d), (CONFIG.mlp_ratio * d, d))
    pairs = [
        (torch.randn(tokens, i, device=device, dtype=dtype), torch.randn(o, i, device=device, dtype=dtype))
        for i, o in shapes
    ]
    return lambda: [F.linear(x, w) for x, w in pairs][-1]


def measure(device: str, batch: int, rounds: int) -> dict[str, Measured]:
    """All variants and the bare products, in turns."""
    model = FAMILY.load(None, "base", 0).eval().to(device)
    assert isinstance(model, TVTSBackbone)
    generator = torch.Generator().manual_seed(0)
    shape = (batch, 3, CONFIG.num_frames, CONFIG.image_size, CONFIG.image_size)
    clips = torch.randn(shape, generator=generator).to(device)

    def unfused() -> Tensor:
        set_attention(model.encoder, fused=False)
        output: Tensor = model.encoder(clips)[:, 0]
        set_attention(model.encoder, fused=True)
        return output

    def ours(dtype: torch.dtype) -> Callable[[], Tensor]:
        def run() -> Tensor:
            with autocast(device, dtype):
                return model(clips).float()  # type: ignore[no-any-return]

        return run

    runs = {
        "unfused, fp32": unfused,
        "ours, fp32": ours(torch.float32),
        "ours, bf16": ours(torch.bfloat16),
        "products, fp32": products(device, torch.float32, batch),
        "products, bf16": products(device, torch.bfloat16, batch),
    }
    with torch.inference_mode():
        return take_turns(runs, device, rounds)


def report(measured: dict[str, Measured], batch: int) -> Table:
    """Ratios to the peer in the same run; rates count the operations that each variant really does."""
    d = CONFIG.embed_dim
    in_products = 2 * batch * (1 + CONFIG.num_patches) * d * d * (4 + 2 * CONFIG.mlp_ratio) / 1e9
    peer = measured["unfused, fp32"]
    table = Table(
        title=f"base encoder, 16 x 224 x 224, batch {batch}, {gflop(CONFIG, first_only=False):.0f} GFLOP a clip"
    )
    for column in ("network", "s/clip", "speed-up", "GFLOP/s", "bare products", "of their rate", "cosine to peer"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name in ("unfused, fp32", "ours, fp32", "ours, bf16"):
        this = measured[name]
        work = batch * gflop(CONFIG, first_only=name.startswith("ours"))
        bare = in_products / measured[f"products, {name[-4:]}"].seconds
        cosine = F.cosine_similarity(this.output, peer.output).min()
        table.add_row(
            name,
            f"{this.seconds / batch:.3f}",
            f"{peer.seconds / this.seconds:.2f}x",
            f"{work / this.seconds:.0f}",
            f"{bare:.0f}",
            f"{work / this.seconds / bare:.0%}",
            f"{cosine:.5f}",
        )
    return table


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=1, help="clips a pass")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="1: count processor time")
    parser.add_argument("--rounds", type=int, default=6, help="turns of each variant; the best counts")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    Console(width=110).print(report(measure(options.device, options.batch, options.rounds), options.batch))


if __name__ == "__main__":
    main()
