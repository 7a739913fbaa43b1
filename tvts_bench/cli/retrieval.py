"""`tvts-bench retrieval`: zero-shot video-to-video retrieval."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvts_bench.cli import option_groups, options
from tvts_bench.cli.console import stderr, stdout

if TYPE_CHECKING:
    from tvts_bench.results import Result

Ks = Annotated[
    list[int] | None,
    typer.Option(
        "--k", help="Recall at this rank; repeat it. 1, 5 and 10 by default.", rich_help_panel=options.PROTOCOL
    ),
]
GallerySplit = Annotated[
    str | None,
    typer.Option(
        "--gallery-split",
        help="Split to search in. Left out, every clip of --split queries all others (leave-one-out, the paper's).",
        rich_help_panel=options.PROTOCOL,
        show_default=False,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        min=0,
        max=options.MAX_SEED,
        help="First seed of random frames.",
        rich_help_panel=options.PROTOCOL,
    ),
]
Seeds = Annotated[
    int,
    typer.Option(
        "--seeds", min=1, help="Number of seeds: mean and spread over them.", rich_help_panel=options.PROTOCOL
    ),
]
ExcludeSameGroup = Annotated[
    bool,
    typer.Option(
        "--exclude-same-group",
        help="Neighbours cut from the query's own source (UCF-101's gNN) do not count.",
        rich_help_panel=options.PROTOCOL,
    ),
]
Controls = Annotated[
    bool,
    typer.Option(
        "--controls",
        help="Also measure shuffled, reversed and single-frame clips: how much of the number needs time.",
        rich_help_panel=options.PROTOCOL,
    ),
]


def retrieval(
    weights: option_groups.Weights = option_groups.WEIGHTS,
    dataset: options.DatasetName = None,
    root: options.Root = None,
    annotations: options.Annotations = None,
    fold: options.Fold = 1,
    split: options.Split = None,
    strict: options.Strict = False,
    gallery_split: GallerySplit = None,
    k: Ks = None,
    sampling: options.Sampling = None,
    seed: Seed = 0,
    seeds: Seeds = 1,
    clip: option_groups.Clip = option_groups.CLIP,
    exclude_same_group: ExcludeSameGroup = False,
    controls: Controls = False,
    decoder: options.Decoder = "decord",
    machine: option_groups.Machine = option_groups.MACHINE,
    out: options.Out = Path("results"),
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Zero-shot video-to-video retrieval: Recall@K of frozen features, by exact cosine search.

    Without options it measures a small backbone on the embedded world. A run that was stopped goes on where it was.

    tvts-bench retrieval --ckpt TVTS_yt_pt.pth --dataset ssv2 --root DIR

    tvts-bench retrieval --ckpt x.pth --dataset ucf101 --root DIR --split test --gallery-split train

    tvts-bench retrieval --backbone pixels --dataset folder --root my_videos --controls
    """
    from tvts_bench.cli import setup
    from tvts_bench.devices import resolve_dtype
    from tvts_bench.evaluators.zero_shot_retrieval import CONTROLS, ZeroShotRetrieval
    from tvts_bench.results import require_writable

    local = setup.make_runtime(machine, strict)
    model = setup.make_backbone(weights)
    changes = setup.ClipChanges(sampling=sampling, seed=seed, **vars(clip))
    data = setup.make_dataset(dataset, root, annotations, fold, machine.cache)
    protocol = ZeroShotRetrieval(
        split=split,
        gallery_split=gallery_split,
        ks=tuple(k) if k else None,
        exclude_same_group=exclude_same_group,
        clip=changes.applied_to(model.clip_spec),
        seeds=tuple(range(seed, seed + seeds)),
        controls=CONTROLS if controls else (),
        decoder=decoder,
        dtype=resolve_dtype(machine.dtype, local.device),
    )
    require_writable(out)
    setup.measure(model, data, protocol, local, lambda result: _report(result, out, as_json))


def _report(result: "Result", out: Path, as_json: bool) -> None:
    import json

    from tvts_bench.cli.tables import controls_table, failures, result_table
    from tvts_bench.results import as_json as as_document
    from tvts_bench.results.files import write_files
    from tvts_bench.results.summary import facts

    written = write_files(result, out)
    if as_json:
        typer.echo(json.dumps(as_document(result), indent=2))  # ASCII: whatever the terminal's encoding
    else:
        stdout.print(f"Zero-shot retrieval on {result.run.dataset['name']}", style="italic")
        stdout.print(result_table(result))
        if (controls := controls_table(result)) is not None:
            stdout.print(controls)
        for line in facts(result):
            stdout.print(line, style="dim", soft_wrap=True)
    for line in failures(result):
        stderr.print(line, soft_wrap=True)
    stderr.print(f"written: {written.saved.json} (and .csv, .md, .neighbors.parquet)", soft_wrap=True)
