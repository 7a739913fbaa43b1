"""`tvts-bench report`: a folder of results as one HTML page."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from tvts_bench.cli.console import say
from tvts_bench.cli.options import DATA, OUTPUT
from tvts_bench.config_fields import Option
from tvts_bench.errors import UserError, name_values


def report(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="Folder of results: the --out of other commands.")
    ] = Path("results"),
    out: Annotated[Path, Option("The page."), OUTPUT] = Path("report.html"),
    gallery: Annotated[int, Option("Queries of a data set.", form="N", least=0), OUTPUT] = 24,
    data: Annotated[
        list[str] | None,
        Option(
            "Where the videos of a data set lie here, if not where they were measured: ssv2=DIR. Repeat it.",
            form="SET=DIR",
        ),
        DATA,
    ] = None,
) -> None:
    """Show a folder of results as one HTML page: tables, plots, curves, and queries with their neighbours as pictures.

    Every number on it opens what made it. The page is one file that needs no network. Equal results make equal pages.

    tvts-bench report

    tvts-bench report runs/ablations --out ablations.html

    tvts-bench report results --gallery 60 --data ssv2=SSV2
    """
    from tvts_bench.cli.console import progress_bar
    from tvts_bench.report.folder import read_contents
    from tvts_bench.report.page import build, render
    from tvts_bench.results import require_writable, write_atomically

    roots, contents = _roots(data or ()), read_contents(results)
    if out.is_dir():
        raise UserError(f"cannot write the page to {out}: it is a folder; give --out a file name, such as report.html")
    require_writable(out.parent)
    built = build(contents, queries=gallery, roots=roots, progress=progress_bar)
    write_atomically(out, render(built))
    for sentence in built.left_out:
        say(sentence)
    size = f"{out.stat().st_size / 2**20:.1f} MiB"
    say(f"written: {out} ({size})")


def _roots(pairs: Iterable[str]) -> dict[str, Path]:
    """Folders by data set, from `SET=DIR` texts; the part of `scripted_motion:ssv2` after the colon does not matter."""
    from tvts_bench.registry import load

    roots = {}
    for name, folder in name_values("--data", pairs, "SET=DIR, such as ssv2=DIR").items():
        base = name.partition(":")[0]
        load("datasets", base)  # refuses an unknown name
        if not Path(folder).is_dir():
            raise UserError(f"--data {name}={folder}: {folder} is not a folder")
        roots[base.replace("-", "_")] = Path(folder)
    return roots
