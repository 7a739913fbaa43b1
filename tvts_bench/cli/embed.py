"""`tvts-bench embed`: features of anyone's own videos."""

from pathlib import Path
from typing import Annotated

import typer

from tvts_bench.cli import option_groups, options
from tvts_bench.cli.console import stderr


def embed(
    files: Annotated[list[Path], typer.Argument(help="Videos, or folders of videos.", show_default=False)],
    weights: option_groups.Weights = option_groups.WEIGHTS,
    out: Annotated[
        Path, typer.Option("--out", help="File to write: .parquet, .npz or .csv.", rich_help_panel=options.OUTPUT)
    ] = Path("features.parquet"),
    strict: options.Strict = False,
    sampling: options.Sampling = None,
    clip: option_groups.Clip = option_groups.CLIP,
    decoder: options.Decoder = "decord",
    machine: option_groups.Machine = option_groups.MACHINE,
    debug: options.Debug = False,
) -> None:
    """Write the features of videos to a file: one row a video, with its path and its embedding.

    tvts-bench embed a.mp4 b.webm more_videos/ --ckpt x.pth --out features.parquet
    """
    from tvts_bench.cli import setup
    from tvts_bench.devices import resolve_dtype
    from tvts_bench.metrics.measured import damage_line, failure_line
    from tvts_bench.own_videos import embed_files, require_known_suffix, write_features
    from tvts_bench.results import require_writable

    require_known_suffix(out)
    require_writable(out.parent)
    runtime = setup.make_runtime(machine, strict)
    model = setup.make_backbone(weights)
    changes = setup.ClipChanges(sampling=sampling, **vars(clip))
    model.clip_spec = changes.applied_to(model.clip_spec)
    embedded = embed_files(
        files, model, decoder=decoder, dtype=resolve_dtype(machine.dtype, runtime.device), runtime=runtime
    )
    for video, reason in embedded.features.failed.items():
        stderr.print(f"  {failure_line(video, reason)}", soft_wrap=True)
    if damaged := embedded.features.damaged:
        line = damage_line(damaged, len(embedded.features.ids), "these videos")
        stderr.print(f"  {line}", soft_wrap=True)
    write_features(embedded, out)
    count, failed = len(embedded.features.ids), len(embedded.features.failed)
    stderr.print(
        f"{count} videos embedded in {model.embed_dim} dimensions by {model.family}:{model.variant},"
        f" weights {model.weights.name}; {failed} failed; written: {out}",
        soft_wrap=True,
    )
