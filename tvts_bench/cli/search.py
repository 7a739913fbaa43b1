"""`tvts-bench search`: the videos of a folder that are most like one video."""

from pathlib import Path
from typing import Annotated

import typer

from tvts_bench.cli import option_groups, options
from tvts_bench.cli.console import stderr, stdout


def search(
    query: Annotated[Path, typer.Argument(help="Video to search with.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Folder of videos, searched with its subfolders.", show_default=False)],
    k: Annotated[int, typer.Option("--k", min=1, help="Videos to show.", rich_help_panel=options.OUTPUT)] = 5,
    weights: option_groups.Weights = option_groups.WEIGHTS,
    strict: options.Strict = False,
    sampling: options.Sampling = None,
    clip: option_groups.Clip = option_groups.CLIP,
    decoder: options.Decoder = "decord",
    machine: option_groups.Machine = option_groups.MACHINE,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Find the videos in a folder that are most similar to one video. The folder's features are kept for next time.

    tvts-bench search query.mp4 my_videos --ckpt x.pth
    """
    import json

    from rich.table import Table

    from tvts_bench.cli import setup
    from tvts_bench.devices import resolve_dtype
    from tvts_bench.metrics.measured import damage_line, failure_line
    from tvts_bench.own_videos import most_similar

    runtime = setup.make_runtime(machine, strict)
    model = setup.make_backbone(weights)
    changes = setup.ClipChanges(sampling=sampling, **vars(clip))
    model.clip_spec = changes.applied_to(model.clip_spec)
    found = most_similar(
        query, folder, k, model, decoder=decoder, dtype=resolve_dtype(machine.dtype, runtime.device), runtime=runtime
    )
    for video, reason in found.failed.items():
        stderr.print(f"  not searched: {failure_line(video, reason)}", soft_wrap=True)
    if found.damaged:
        line = damage_line(found.damaged, found.searched, "the folder")
        stderr.print(f"  {line}", soft_wrap=True)
    if as_json:
        typer.echo(json.dumps([{"path": hit.path, "similarity": hit.similarity} for hit in found.hits], indent=2))
        return
    table = Table(title=f"Most similar to {query.name}", title_justify="left", caption_justify="left")
    table.add_column("", justify="right")
    table.add_column("cosine", justify="right")
    table.add_column("video", overflow="fold")
    for rank, hit in enumerate(found.hits, 1):
        table.add_row(str(rank), f"{hit.similarity:.3f}", hit.path)
    table.caption = (
        f"{found.searched} videos searched with {model.family}:{model.variant}, weights {model.weights.name}"
    )
    stdout.print(table)
