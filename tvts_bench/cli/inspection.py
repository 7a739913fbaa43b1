"""`tvts-bench inspect`: what a checkpoint is, and what of it would be used."""

from typing import TYPE_CHECKING, Annotated

import typer

from tvts_bench.cli import options
from tvts_bench.cli.console import stderr, stdout

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tvts_bench.backbones.loading import Inspection, Use

REFUSED = 1  # exit code where the file would not be loaded
SHOWN = 12  # parts, values and names of each kind; the JSON has all


def inspect(
    file: Annotated[
        str, typer.Argument(help="A file or folder of weights, hf://OWNER/NAME, or timm/NAME.", show_default=False)
    ],
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            help="Family, or family:variant, to try it as; told from its tensors when left out.",
            rich_help_panel=options.WEIGHTS,
            show_default=False,
        ),
    ] = None,
    weights: options.WeightsKey = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """Say what a checkpoint is, which backbone it is of, and what of it would be used. Nothing in it is run.

    Exit code 1: it would be refused, and why.

    tvts-bench inspect x.pth

    tvts-bench inspect hf://OWNER/NAME --json
    """
    import json

    from tvts_bench.backbones.loading import inspect_checkpoint
    from tvts_bench.provenance import canonical

    found = inspect_checkpoint(file, backbone, weights)
    if as_json:
        typer.echo(json.dumps(canonical(found), indent=2))
    else:
        for name, text in _lines(found):
            stdout.print(f"{name:<11} {text}", soft_wrap=True)
    if found.refused is not None:
        if not as_json:
            stderr.print("would be refused: ", end="", style="bold red")
            stderr.print(found.refused, soft_wrap=True)
        raise typer.Exit(REFUSED)


def _lines(found: "Inspection") -> "Iterable[tuple[str, str]]":
    yield "file", found.file
    if not found.sha256:
        return
    yield "sha256", found.sha256
    yield "format", found.format + (f", tensors under {found.container!r}" if found.container else "")
    if found.beside:
        yield "left alone", f"tensors under {_shortened(found.beside)}"
    for note in found.notes:
        yield "note", note
    yield "tensors", f"{sum(found.tensors.values()):,} with {found.values:,} values; {_counts(found.dtypes)}"
    yield "parts", _counts(found.tensors)
    if found.saved:
        yield "beside them", _shortened([f"{name} = {value!r}" for name, value in found.saved.items()])
    if found.stand_ins:
        yield "stand-ins", f"{_shortened(found.stand_ins)} (names in the file; none was looked up)"
    if found.families:
        yield "recognised", " or ".join(found.families)
    elif found.nearest:
        yield "nearest", ", ".join(found.nearest)
    if found.use is not None:
        yield from _use_lines(found.use)


def _use_lines(use: "Use") -> "Iterable[tuple[str, str]]":
    yield "backbone", use.backbone
    yield "used", f"{use.tensors:,} tensors, {use.parameters:,} parameters"
    yield "unused", _counts(use.unused) if use.unused else "nothing"
    clip = use.clip
    yield "input", f"{clip}; short side {clip.short_side}, {clip.interpolation}, mean {clip.mean}, std {clip.std}"
    yield "features", f"{use.embed_dim} numbers a clip"


def _counts(counts: "Mapping[str, int]") -> str:
    return _shortened([f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda each: -each[1])])


def _shortened(texts: "Iterable[str]") -> str:
    """The first of these; values saved by strangers may be long, too."""
    listed = [text if len(text) <= 60 else f"{text[:57]}..." for text in texts]
    more = f", and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more
