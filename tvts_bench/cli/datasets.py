"""`tvts-bench datasets` and `tvts-bench check`: what there is, where to get it, and whether a copy of it is sound."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvts_bench.cli import options
from tvts_bench.cli.console import stderr, stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from tvts_bench.check import CheckReport
    from tvts_bench.datasets.base import Dataset, DatasetInfo

PROBLEMS_FOUND = 1  # exit code of `check`


Splits = Annotated[
    list[str] | None,
    typer.Option(
        "--split",
        help="Split to check; repeat for several. All by default, so that videos in two splits show.",
        rich_help_panel=options.DATA,
        show_default=False,
    ),
]
Csv = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="CSV with a row a problem: split, id, path, problem, detail. check-DATASET.csv by default.",
        rich_help_panel=options.OUTPUT,
        show_default=False,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume/--fresh",
        help="Read only files that are new or changed since the last check, or all of them again.",
        rich_help_panel=options.MACHINE,
    ),
]
Decoder = Annotated[
    str,
    typer.Option(
        "--decoder",
        help="pyav decodes every frame, from the first to the last; decord, where it can seek, 16 spread ones.",
        rich_help_panel=options.PROTOCOL,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        help="Seconds a worker may spend on one file before it is killed and the file listed as timed out.",
        rich_help_panel=options.MACHINE,
    ),
]


def datasets(
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", help="With --root: say how much of this data set is there.", rich_help_panel=options.DATA
        ),
    ] = None,
    root: options.Root = None,
    annotations: options.Annotations = None,
    fold: options.Fold = 1,
    as_json: options.AsJson = False,
    debug: options.Debug = False,
) -> None:
    """List the data sets, how large they are, and where to get them; or say how much of one is there.

    tvts-bench datasets

    tvts-bench datasets --dataset ucf101 --root ~/data/ucf101
    """
    import json

    from tvts_bench import registry
    from tvts_bench.datasets.loading import dataset_info, load_dataset
    from tvts_bench.errors import UserError

    if dataset is None and root is not None:
        raise UserError(f"--root {root} needs --dataset NAME, one of: {', '.join(registry.names('datasets'))}")
    if dataset is not None and root is not None:
        rows = _presence(load_dataset(dataset, root, annotations=annotations, fold=fold))
        if as_json:
            typer.echo(json.dumps(rows, indent=2))
        else:
            stdout.print(_presence_table(dataset, rows))
        return
    infos = {name: dataset_info(name) for name in ([dataset] if dataset else registry.names("datasets"))}
    if as_json:
        typer.echo(json.dumps({name: _info_row(info) for name, info in infos.items()}, indent=2))
        return
    stdout.print(_info_table(infos))


def check(
    dataset: Annotated[
        str, typer.Argument(help="Data set: ssv2, k400, ucf101, hmdb51, folder, list.", show_default=False)
    ],
    root: options.Root = None,
    annotations: options.Annotations = None,
    fold: options.Fold = 1,
    split: Splits = None,
    out: Csv = None,
    resume: Resume = True,
    decoder: Decoder = "pyav",
    timeout: Timeout = 120.0,
    workers: options.Workers = None,
    cache: options.Cache = None,
    debug: options.Debug = False,
) -> None:
    """Read every file and list what is missing, empty, undecodable, damaged, duplicate, leaked or mislabelled.

    An interrupted check goes on where it was. Exit code 0: nothing found; 1: problems, listed in the CSV; 2: the check
    itself could not run.

    tvts-bench check ucf101 --root ~/data/ucf101
    """
    from tvts_bench import runtime as runtimes
    from tvts_bench.check import check_dataset, write_csv
    from tvts_bench.cli.progress import progress_bar
    from tvts_bench.datasets.loading import load_dataset
    from tvts_bench.errors import UserError
    from tvts_bench.results import require_writable

    runtime = runtimes.Runtime(
        workers=runtimes.default_workers() if workers is None else workers,
        clip_timeout=timeout,
        cache=cache or runtimes.default_cache(),
        progress=progress_bar,
    )
    found = load_dataset(dataset, root, annotations=annotations, fold=fold, cache=cache, progress=progress_bar)
    target = out or Path(f"check-{found.name}.csv")
    if target.is_dir():
        raise UserError(f"--out {target} is a folder; give the name of a CSV file in it")
    require_writable(target.parent)
    report = check_dataset(found, runtime, splits=split or (), decoder=decoder, fresh=not resume)
    write_csv(report.problems, target)
    for name, reason in report.unavailable.items():
        stderr.print(f"split {name} not checked: {reason}", soft_wrap=True)
    stdout.print(_report_table(found.name, report))
    stdout.print(f"{len(report.problems)} problems in {target}", soft_wrap=True)
    if report.problems:
        raise typer.Exit(PROBLEMS_FOUND)


def _report_table(name: str, report: "CheckReport") -> "Table":
    from rich.table import Table

    from tvts_bench.check.problems import KINDS

    shown = [kind for kind in KINDS if any(row.problem == kind for row in report.problems)]
    again = f", {report.recalled:,} unchanged since the last check" if report.recalled else ""
    table = Table(caption=f"{name}: {report.read:,} files read{again}", caption_justify="left", min_width=60)
    for column in ("split", "listed", *shown):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split, listed in report.listed.items():
        table.add_row(split, f"{listed:,}", *(f"{report.count(split, kind):,}" for kind in shown))
    return table


def _info_table(infos: dict[str, "DatasetInfo"]) -> "Table":
    """A block a data set; made for terminals of 80 columns."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, info in infos.items():
        classes = f"{info.num_classes} classes" if info.num_classes else "any classes"
        sizes = [f"{split} {_either(info.official_sizes.get(split, ()))}".rstrip() for split in info.splits]
        rows = {
            "splits": "; ".join(sizes),
            "variants": ", ".join(f"{name}:{variant}" for variant in info.variants),
            "from": info.url,
            "licence": info.license,
            "--root": info.layout,
            "note": info.notes,
        }
        table.add_row(Text(name, style="bold cyan"), Text(f"{info.title}, {classes}", style="bold"))
        for key, value in rows.items():
            if value:
                table.add_row(f"  {key}", Text(value))
        table.add_row()
    return table


def _either(sizes: "Sequence[int]") -> str:
    return " or ".join(f"{size:,}" for size in sizes)


def _info_row(info: "DatasetInfo") -> dict[str, Any]:
    from tvts_bench import provenance

    row = provenance.canonical(info)
    del row["type"]
    return dict(row)


def _presence(dataset: "Dataset") -> dict[str, dict[str, Any]]:
    """How much of each split is there; a split that cannot be used has its reason instead."""
    from tvts_bench.datasets.base import SplitUnavailableError

    rows: dict[str, dict[str, Any]] = {}
    for split in dataset.splits:
        try:
            coverage = dataset.coverage(split)
        except SplitUnavailableError as error:
            rows[split] = {"unavailable": str(error)}
            continue
        rows[split] = {
            "listed": coverage.listed,
            "present": coverage.present,
            "official": list(coverage.official),
            "complete": coverage.complete,
            "fingerprint": dataset.fingerprint(split),
        }
    return rows


def _presence_table(name: str, rows: dict[str, dict[str, Any]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title=name, title_justify="left")
    for column in ("split", "listed", "present", "official", ""):
        table.add_column(column, justify="right" if column in ("listed", "present") else "left", overflow="fold")
    for split, row in rows.items():
        if "unavailable" in row:
            table.add_row(split, "", "0", "", Text(row["unavailable"]))
            continue
        official = _either(row["official"]) or "your own"
        state = "complete" if row["complete"] else "incomplete"
        table.add_row(split, f"{row['listed']:,}", f"{row['present']:,}", official, state)
    return table
