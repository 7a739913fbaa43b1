"""`tvts-bench backbones`: which backbones there are, where their weights are, and what was published of them."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from tvts_bench.cli import options
from tvts_bench.cli.console import stderr, stdout
from tvts_bench.printable import printable

if TYPE_CHECKING:
    from rich.table import Table

    from tvts_bench.backbones.detect import BackboneFamily
    from tvts_bench.backbones.model_cards import Unavailable

COLUMNS = {
    **{"ssv2_v2v_r1": "SSV2 R@1", "ssv2_v2v_r5": "R@5", "ssv2_v2v_r10": "R@10", "ssv2_linear_top1": "SSV2 linear"},
    **{"ssv2_top1": "SSV2", "k400_top1": "K400", "ucf101_top1": "UCF-101", "hmdb51_top1": "HMDB-51"},
}
"""Columns of the published tables that hold numbers, in words."""
NOTE = (
    "published: percent, quoted from the paper's tables; nothing of it was measured here."
    " tvts-bench backbones NAME shows a backbone's variants and the addresses of its files."
)


def backbones(
    name: Annotated[
        str | None, typer.Argument(help="Show this one alone, with its variants.", show_default=False)
    ] = None,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
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
        weights = [f"weights: {file}: {place}" for file, place in card.weights.items()]
        weights.insert(0, f"variants: {', '.join(plugin.variants)}")
    else:
        weights = [f"weights: {_places(card.weights)}"]
    return [
        f"{card.title} ({card.reference}): {card.what}",
        *weights,
        f"licence: {card.licence}",
        *([f"labels: {card.supervised}"] if card.supervised else []),
        f"input: {card.input}",
        f"features: {card.representation}",
        *_published_lines(card.published),
    ]


def _places(weights: Mapping[str, str]) -> str:
    """How many files there are, and the sites they are on; or why there is none."""
    hosts = [urlsplit(place).netloc for place in weights.values() if place.startswith("http")]
    without = [f"{file}: {place}" for file, place in weights.items() if not place.startswith("http")]
    files = f"{len(hosts)} file{'s' if len(hosts) > 1 else ''}, {' and '.join(dict.fromkeys(hosts))}"
    return "; ".join([*([files] if hosts else []), *without]) or "none are needed"


def _finding(system: "Unavailable") -> list[str]:
    return [f"no public weights: {system.finding}", *_published_lines(system.published)]


def _table(heading: str, rows: Mapping[str, list[str]]) -> "Table":
    """A row each, its lines one below the other."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=True)
    table.add_column(heading, no_wrap=True)
    table.add_column("what is known of it", overflow="fold")
    for name, lines in rows.items():
        table.add_row(name, Text("\n".join(map(printable, lines))))
    return table


def _published_lines(rows: Iterable[tuple[str, str]]) -> list[str]:
    """A line a row of the paper's tables: "published: Table 4, SVT: SSV2 R@1 11.3, R@5 30.7, ..."."""
    lines = []
    for row in _published(rows):
        numbers = ", ".join(f"{COLUMNS[column]} {value:g}" for column, value in row["values"].items())
        lines.append(f"published: Table {row['table'].removeprefix('table')}, {row['row']}: {numbers}")
    return lines


def _published(rows: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """The numbers of rows of the paper's tables; what was not published is left out."""
    from tvts_bench.tables.base import read_published

    found = []
    for table, row in rows:
        fields = next((each for each in read_published(table) if each["method"] == row), None)
        if fields is None:  # another package may name what is not there
            continue
        values = {column: float(fields[column]) for column in COLUMNS if fields.get(column)}
        found.append({"table": table, "row": row, "values": values})
    return found


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
