"""`tvts-bench retrieval`, zero-shot video-to-video retrieval, and `tvts-bench demo`, which shows what it measures."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tvts_bench.cli import options
from tvts_bench.cli.console import stderr, stdout
from tvts_bench.cli.options import OUTPUT, PROTOCOL
from tvts_bench.config_fields import Option

if TYPE_CHECKING:
    from tvts_bench.results import Result

DATASET = "scripted_motion:ssv2"
BACKBONES = {
    "TVTS (shipped)": "tvts:scripted_motion_tiny",
    "L_base only (baseline)": "tvts:scripted_motion_tiny_l_base",
    "random weights (baseline)": "tvts:tiny",
}
"""What the rows of the demo are called, and which backbones they are; differences are those of the first to the others.
"""


def retrieval(
    weights: options.Weights,
    data: options.Data,
    split: options.Split,
    clip: options.ClipOptions,
    machine: options.Reader,
    output: options.Output,
    gallery_split: Annotated[
        str | None,
        Option("Split to search in. Left out, every clip of --split queries all others (leave-one-out, the paper's)."),
        PROTOCOL,
    ] = None,
    k: Annotated[list[int] | None, Option("Recall at this rank; repeat it. 1, 5 and 10 by default."), PROTOCOL] = None,
    seed: Annotated[int, Option("First seed of random frames.", least=0, most=options.MAX_SEED), PROTOCOL] = 0,
    seeds: options.Seeds = 1,
    exclude_same_group: Annotated[
        bool, Option("Neighbours cut from the query's own source (UCF-101's gNN) do not count."), PROTOCOL
    ] = False,
    controls: Annotated[
        bool,
        Option("Also measure shuffled, reversed and single-frame clips: how much of the number needs time."),
        PROTOCOL,
    ] = False,
) -> None:
    """Zero-shot video-to-video retrieval: Recall@K of frozen features, by exact cosine search.

    Without options it measures a small backbone on the built-in synthetic set. A run that was stopped resumes where it
    was.

    tvts-bench retrieval --ckpt TVTS_yt_pt.pth --dataset ssv2 --root DIR

    tvts-bench retrieval --ckpt x.pth --dataset ucf101 --root DIR --split test --gallery-split train

    tvts-bench retrieval --backbone pixels --dataset folder --root my_videos --controls
    """
    from tvts_bench.cli import render, setup
    from tvts_bench.devices import resolve_dtype
    from tvts_bench.evaluators.zero_shot_retrieval import CONTROLS, ZeroShotRetrieval
    from tvts_bench.results import require_writable
    from tvts_bench.video.spec import changed_clip

    local = setup.make_runtime(machine, machine.strict)
    model = setup.make_backbone(weights)
    dataset = setup.make_dataset(data.dataset, data.root, data.annotations, data.fold, machine.cache)
    protocol = ZeroShotRetrieval(
        split=split.split,
        gallery_split=gallery_split,
        ks=tuple(k) if k else None,
        exclude_same_group=exclude_same_group,
        clip=changed_clip(model.clip_spec, seed=seed, **clip.changes),
        seeds=tuple(range(seed, seed + seeds)),
        controls=CONTROLS if controls else (),
        decoder=machine.decoder,
        dtype=resolve_dtype(machine.dtype, local.device),
    )
    require_writable(output.out)
    setup.measure(model, dataset, protocol, local, partial(render.show_retrieval, output=output))


def demo(
    machine: options.Machine, out: Annotated[Path, Option("Folder that results go to."), OUTPUT] = Path("results")
) -> None:
    """Measure the shipped backbone on the built-in synthetic set, beside an L_base-only and a random-weights baseline.

    Zero-shot retrieval with the defaults of `tvts-bench retrieval`, on videos in which motion alone is the class. They
    are made on first use, and decoded once for the three backbones. Less than a minute on two cores.
    """
    from tvts_bench.backbones.loading import load_backbone
    from tvts_bench.cli import setup
    from tvts_bench.devices import resolve_dtype
    from tvts_bench.distributed import distributed_runtime
    from tvts_bench.evaluation import evaluate_all
    from tvts_bench.evaluators.zero_shot_retrieval import ZeroShotRetrieval
    from tvts_bench.results import require_writable

    require_writable(out)
    local = setup.make_runtime(machine)
    backbones = [load_backbone(name) for name in BACKBONES.values()]
    dataset = setup.make_dataset(DATASET, None, None, 1, machine.cache)
    protocol = ZeroShotRetrieval(dtype=resolve_dtype(machine.dtype, local.device))
    with distributed_runtime(local) as runtime:
        results = evaluate_all(backbones, dataset, protocol, runtime)
    if runtime.rank == 0:
        _show_demo(dict(zip(BACKBONES, results, strict=True)), out)


def _show_demo(results: "dict[str, Result]", out: Path) -> None:
    from tvts_bench.cli.render import comparison_table, failures
    from tvts_bench.results.files import write_files

    written = [write_files(result, out).json for result in results.values()]
    first = next(iter(results.values()))
    stdout.print(f"Zero-shot retrieval on {first.run.dataset['name']}", style="italic")
    stdout.print(comparison_table(results))
    for line in _facts(results):
        stdout.print(line, style="dim", soft_wrap=True)
    for line in dict.fromkeys(line for result in results.values() for line in failures(result)):
        stderr.print(line, soft_wrap=True)
    for path in written:
        stderr.print(f"written: {path} (and .csv, .md, .neighbors.parquet)", soft_wrap=True)


def _facts(results: "dict[str, Result]") -> list[str]:
    """What made the numbers: what the backbones differ in, then what they have in common, each line once."""
    from tvts_bench.results.files import backbone_fact, shared_facts

    computed_by = (name for result in results.values() for name in result.provenance["features_computed_by"])
    return [
        "percent; below each its 95 % bootstrap interval over clips, paired for differences",
        *(f"{label}: {backbone_fact(result)}; run {result.run.key[:12]}" for label, result in results.items()),
        *dict.fromkeys(line for result in results.values() for line in shared_facts(result)),
        "computed by " + "; ".join(dict.fromkeys(computed_by)),
    ]
