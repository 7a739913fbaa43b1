"""`tvts-bench backbones`: which there are and what was published; `tvts-bench inspect`: what a checkpoint is."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from tvts_bench.cli import options
from tvts_bench.cli.console import stderr, stdout, table
from tvts_bench.config_fields import Option
from tvts_bench.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

    from tvts_bench.backbones.detect import BackboneFamily
    from tvts_bench.backbones.loading import Inspection, Use
    from tvts_bench.backbones.model_cards import Unavailable

COLUMNS = {
    **{"ssv2_v2v_r1": "SSV2 R@1", "ssv2_v2v_r5": "R@5", "ssv2_v2v_r10": "R@10", "ssv2_linear_top1": "SSV2 linear"},
    **{"ssv2_top1": "SSV2", "k400_top1": "K400", "ucf101_top1": "UCF-101", "hmdb51_top1": "HMDB-51"},
}
"""Columns of the published tables that hold numbers, in words."""
REFUSED = 1  # exit code of `inspect` where the file would not be loaded
SHOWN = 12  # parts, values and names of each kind; the JSON has all
NOTE = (
    "published: percent, quoted from the paper's tables; nothing of it was measured here."
    " tvts-bench backbones NAME shows a backbone's variants and the addresses of its files."
)


def backbones(
    name: Annotated[
        str | None, typer.Argument(help="Show this one alone, with its variants.", show_default=False)
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the backbones: what each is, its official weights and licence, its input, features and published numbers.

    Files of these are recognised by their tensors, so `--ckpt FILE` alone will do. Systems of the paper without public
    weights are listed with what a search for them found.

    tvts-bench backbones

    tvts-bench backbones videomae
    """
    import json

    from tvts_bench.backbones.detect import families, family
    from tvts_bench.backbones.model_cards import UNAVAILABLE

    without = [each for each in UNAVAILABLE if name is None or each.name.lower() == name.lower()]
    if name is None:
        usable, problems = families()
    else:
        usable, problems = {} if without else {name: family(name)}, ()
    if as_json:
        document = {
            "backbones": [_document(each, plugin) for each, plugin in usable.items()],
            "without_weights": [
                {"name": each.name, "finding": each.finding, "published": _published(each.published)}
                for each in without
            ],
            "problems": list(problems),
        }
        typer.echo(json.dumps(document, indent=2))
        return
    if name is None:
        stdout.print(_table("backbone", {each: _known(plugin) for each, plugin in usable.items()}))
        stdout.print(_table("quoted only", {each.name: _finding(each) for each in without}))
        stdout.print(NOTE, style="dim")
    else:  # as plain lines, from which an address can be copied
        for lines in (*(_known(plugin, whole=True) for plugin in usable.values()), *map(_finding, without)):
            for line in lines:
                stdout.print(line, soft_wrap=True)
    for problem in problems:
        stderr.print(f"not usable: {problem}", soft_wrap=True)


def _known(plugin: "BackboneFamily", *, whole: bool = False) -> list[str]:
    """What is known of a family, line by line; `whole`: with its variants and the addresses of its files."""
    card = plugin.card
    if whole:
        weights = [f"weights: {file}: {source}" for file, source in card.weights.items()]
        weights.insert(0, f"variants: {', '.join(plugin.variants)}")
    else:
        weights = [f"weights: {_sites(card.weights)}"]
    return [
        f"{card.title} ({card.reference}): {card.what}",
        *weights,
        f"licence: {card.licence}",
        *([f"labels: {card.supervised}"] if card.supervised else []),
        f"input: {card.input}",
        f"features: {card.representation}",
        *_published_lines(card.published),
    ]


def _sites(weights: Mapping[str, str]) -> str:
    """How many files there are, and the sites they are on; or why there is none."""
    hosts = [urlsplit(source).netloc for source in weights.values() if source.startswith("http")]
    without = [f"{file}: {source}" for file, source in weights.items() if not source.startswith("http")]
    files = f"{len(hosts)} file{'s' if len(hosts) > 1 else ''}, {' and '.join(dict.fromkeys(hosts))}"
    return "; ".join([*([files] if hosts else []), *without]) or "none are needed"


def _finding(system: "Unavailable") -> list[str]:
    return [f"no public weights: {system.finding}", *_published_lines(system.published)]


def _table(heading: str, rows: Mapping[str, list[str]]) -> "Table":
    """One row each, its lines one below the other."""
    from rich.text import Text

    texts = ((name, Text("\n".join(map(printable, lines)))) for name, lines in rows.items())
    return table((heading, "what is known of it"), texts, show_lines=True)


def _published_lines(rows: Iterable[tuple[str, str]]) -> list[str]:
    """One line per row of the paper's tables: "published: Table 4, SVT: SSV2 R@1 11.3, R@5 30.7, ..."."""
    lines = []
    for row in _published(rows):
        numbers = ", ".join(f"{COLUMNS[column]} {value:g}" for column, value in row["values"].items())
        lines.append(f"published: Table {row['table'].removeprefix('table')}, {row['row']}: {numbers}")
    return lines


def _published(rows: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """The numbers of rows of the paper's tables; what was not published is left out."""
    from tvts_bench.tables.base import read_published

    return [
        {
            "table": name,
            "row": row,
            "values": {column: float(fields[column]) for column in COLUMNS if fields.get(column)},
        }
        for name, row in rows
        for fields in read_published(name)
        if fields["method"] == row  # another package may name what is not there
    ]


def _document(name: str, plugin: "BackboneFamily") -> dict[str, Any]:
    card = plugin.card
    return {
        "name": name,
        "variants": list(plugin.variants),
        **{each: getattr(card, each) for each in ("title", "what", "licence", "supervised", "input")},
        **{each: getattr(card, each) for each in ("representation", "reference")},
        "weights": dict(card.weights),
        "published": _published(card.published),
    }


def inspect(
    file: Annotated[
        str, typer.Argument(help="A file or folder of weights, hf://OWNER/NAME, or timm/NAME.", show_default=False)
    ],
    backbone: Annotated[
        str | None,
        Option("Family, or family:variant, to try it as; recognised from its tensors when left out."),
        options.WEIGHTS,
    ] = None,
    weights: options.WeightsKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what a checkpoint is, which backbone it is of, and what of it would be used. Nothing in it is run.

    Exit code 1: it would be refused, and why.

    tvts-bench inspect x.pth

    tvts-bench inspect hf://OWNER/NAME --json
    """
    import json

    from tvts_bench.backbones.loading import inspect_checkpoint
    from tvts_bench.provenance import canonical

    report = inspect_checkpoint(file, backbone, weights)
    if as_json:
        typer.echo(json.dumps(canonical(report), indent=2))
    else:
        for name, text in _lines(report):
            stdout.print(f"{name:<11} {text}", soft_wrap=True)
    if report.refused is not None:
        if not as_json:
            stderr.print("would be refused: ", end="", style="bold red")
            stderr.print(report.refused, soft_wrap=True)
        raise typer.Exit(REFUSED)


def _lines(report: "Inspection") -> Iterator[tuple[str, str]]:
    yield "file", report.file
    if not report.sha256:
        return
    yield "sha256", report.sha256
    yield "format", report.format + (f", tensors under {report.container!r}" if report.container else "")
    if report.beside:
        yield "left alone", f"tensors under {_shortened(report.beside)}"
    for note in report.notes:
        yield "note", note
    yield "tensors", f"{sum(report.tensors.values()):,} with {report.values:,} values; {_counts(report.dtypes)}"
    yield "parts", _counts(report.tensors)
    if report.saved:
        yield "beside them", _shortened([f"{name} = {value!r}" for name, value in report.saved.items()])
    if report.stand_ins:
        yield "stand-ins", f"{_shortened(report.stand_ins)} (names in the file; none was looked up)"
    if report.families:
        yield "recognised", " or ".join(report.families)
    elif report.nearest:
        yield "nearest", ", ".join(report.nearest)
    if report.use is not None:
        yield from _use_lines(report.use)


def _use_lines(use: "Use") -> Iterator[tuple[str, str]]:
    yield "backbone", use.backbone
    yield "used", f"{use.tensors:,} tensors, {use.parameters:,} parameters"
    yield "unused", _counts(use.unused) if use.unused else "nothing"
    clip = use.clip
    yield "input", f"{clip}; short side {clip.short_side}, {clip.interpolation}, mean {clip.mean}, std {clip.std}"
    yield "features", f"{use.embed_dim} numbers a clip"


def _counts(counts: Mapping[str, int]) -> str:
    return _shortened([f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda each: -each[1])])


def _shortened(texts: Iterable[str]) -> str:
    """The first of these; values saved by strangers may be long, too."""
    listed = [text if len(text) <= 60 else f"{text[:57]}..." for text in texts]
    more = f", and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more
