"""`tvts-bench embed`, features of anyone's own videos, and `tvts-bench search`, the videos that are most like one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvts_bench.cli import options
from tvts_bench.cli.console import stderr, stdout, table
from tvts_bench.cli.options import OUTPUT
from tvts_bench.config_fields import Option

if TYPE_CHECKING:
    from tvts_bench.backbones.base import Backbone


def embed(
    files: Annotated[list[Path], typer.Argument(help="Videos, or folders of videos.", show_default=False)],
    weights: options.Weights,
    clip: options.ClipOptions,
    machine: options.Reader,
    out: Annotated[Path, Option("File to write: .parquet, .npz or .csv."), OUTPUT] = Path("features.parquet"),
) -> None:
    """Write the features of videos to a file: one row per video, with its path and its embedding.

    tvts-bench embed a.mp4 b.webm more_videos/ --ckpt x.pth --out features.parquet
    """
    from tvts_bench.cli import setup
    from tvts_bench.devices import resolve_dtype
    from tvts_bench.embed_files import embed_files, require_known_suffix, write_features
    from tvts_bench.results import require_writable

    require_known_suffix(out)
    require_writable(out.parent)
    runtime = setup.make_runtime(machine, machine.strict)
    model = setup.make_backbone(weights, clip)
    embedded = embed_files(
        files, model, decoder=machine.decoder, dtype=resolve_dtype(machine.dtype, runtime.device), runtime=runtime
    )
    features = embedded.features
    _report_unread(features.failed, features.damaged, len(features.ids), what="these videos")
    write_features(embedded, out)
    stderr.print(
        f"{len(features.ids)} videos embedded in {model.embed_dim} dimensions by {_named(model)};"
        f" {len(features.failed)} failed; written: {out}",
        soft_wrap=True,
    )


def search(
    query: Annotated[Path, typer.Argument(help="Video to search with.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Folder of videos, searched with its subfolders.", show_default=False)],
    weights: options.Weights,
    clip: options.ClipOptions,
    machine: options.Reader,
    k: Annotated[int, Option("Videos to show.", least=1), OUTPUT] = 5,
    as_json: options.AsJson = False,
) -> None:
    """Find the videos in a folder that are most similar to one video. The folder's features are kept for next time.

    tvts-bench search query.mp4 my_videos --ckpt x.pth
    """
    import json

    from tvts_bench.cli import setup
    from tvts_bench.devices import resolve_dtype
    from tvts_bench.embed_files import most_similar

    runtime = setup.make_runtime(machine, machine.strict)
    model = setup.make_backbone(weights, clip)
    dtype = resolve_dtype(machine.dtype, runtime.device)
    result = most_similar(query, folder, k, model, decoder=machine.decoder, dtype=dtype, runtime=runtime)
    _report_unread(result.failed, result.damaged, result.searched, what="the folder", before="not searched: ")
    if as_json:
        typer.echo(json.dumps([{"path": hit.path, "similarity": hit.similarity} for hit in result.hits], indent=2))
        return
    rows = ((str(rank), f"{hit.similarity:.3f}", hit.path) for rank, hit in enumerate(result.hits, 1))
    caption = f"{result.searched} videos searched with {_named(model)}"
    stdout.print(table((">", ">cosine", "video"), rows, title=f"Most similar to {query.name}", caption=caption))


def _named(model: "Backbone") -> str:
    return f"{model.family}:{model.variant}, weights {model.weights.name}"


def _report_unread(
    failed: Mapping[str, str], damaged: Sequence[str], used: int, *, what: str, before: str = ""
) -> None:
    """Name the videos that could not be read, and count those that could only in part."""
    from tvts_bench.metrics.measured import damage_line, failure_line

    for video, reason in failed.items():
        stderr.print(f"  {before}{failure_line(video, reason)}", soft_wrap=True)
    if damaged:
        stderr.print(f"  {damage_line(damaged, used, what)}", soft_wrap=True)
