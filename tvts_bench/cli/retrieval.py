"""`tvts-bench retrieval`, zero-shot video-to-video retrieval, and `tvts-bench demo`, which shows what it measures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tvts_bench.cli import options
from tvts_bench.cli.console import stderr, stdout
from tvts_bench.cli.options import of_protocol

if TYPE_CHECKING:
    from tvts_bench.results import Result

DATASET = "scripted_motion:ssv2"
BACKBONES = {
    "TVTS (shipped)": "tvts:scripted_motion_tiny",
    "L_base only (twin)": "tvts:scripted_motion_tiny_l_base",
    "random init (control)": "tvts:tiny",
}
"""What the rows of the demo are called, and which backbones they are; differences are those of the first to the others.
"""

Ks = Annotated[list[int] | None, of_protocol("--k", help="Recall at this rank; repeat it. 1, 5 and 10 by default.")]
GallerySplit = Annotated[
    str | None,
    of_protocol(
        "--gallery-split",
        help="Split to search in. Left out, every clip of --split queries all others (leave-one-out, the paper's).",
        show_default=False,
    ),
]
Seed = Annotated[int, of_protocol("--seed", min=0, max=options.MAX_SEED, help="First seed of random frames.")]
ExcludeSameGroup = Annotated[
    bool,
    of_protocol(
        "--exclude-same-group", help="Neighbours cut from the query's own source (UCF-101's gNN) do not count."
    ),
]
Controls = Annotated[
    bool,
    of_protocol(
        "--controls", help="Also measure shuffled, reversed and single-frame clips: how much of the number needs time."
    ),
]


def retrieval(
    weights: options.Weights = options.NO_WEIGHTS,
    data: options.Data = options.NO_DATA,
    split: options.Split = None,
    strict: options.Strict = False,
    gallery_split: GallerySplit = None,
    k: Ks = None,
    seed: Seed = 0,
    seeds: options.Seeds = 1,
    clip: options.Clip = options.NO_CLIP,
    exclude_same_group: ExcludeSameGroup = False,
    controls: Controls = False,
    decoder: options.Decoder = "decord",
    machine: options.Machine = options.ANY_MACHINE,
    out: options.Out = Path("results"),
    as_json: options.AsJson = False,
    debug: options.Debug = False,
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

    local = setup.make_runtime(machine, strict)
    model = setup.make_backbone(weights)
    dataset = setup.make_dataset(data.dataset, data.root, data.annotations, data.fold, machine.cache)
    protocol = ZeroShotRetrieval(
        split=split,
        gallery_split=gallery_split,
        ks=tuple(k) if k else None,
        exclude_same_group=exclude_same_group,
        clip=changed_clip(model.clip_spec, sampling=clip.sampling, views=clip.views, seed=seed, **clip.fields),
        seeds=tuple(range(seed, seed + seeds)),
        controls=CONTROLS if controls else (),
        decoder=decoder,
        dtype=resolve_dtype(machine.dtype, local.device),
    )
    require_writable(out)
    setup.measure(model, dataset, protocol, local, lambda result: render.show_retrieval(result, out, as_json))


def demo(
    machine: options.Machine = options.ANY_MACHINE,
    out: options.Out = Path("results"),
    debug: options.Debug = False,
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

    written = [write_files(result, out).saved.json for result in results.values()]
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
    from tvts_bench.results.summary import backbone_fact, shared_facts

    computed_by = (name for result in results.values() for name in result.provenance["features_computed_by"])
    return [
        "percent; below each its 95 % bootstrap interval over clips, paired for differences",
        *(f"{label}: {backbone_fact(result)}; run {result.run.key[:12]}" for label, result in results.items()),
        *dict.fromkeys(line for result in results.values() for line in shared_facts(result)),
        "computed by " + "; ".join(dict.fromkeys(computed_by)),
    ]
