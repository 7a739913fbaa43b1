"""`tvts-bench datasets` and `tvts-bench check`: what there is, where to get it, and whether a copy of it is sound."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvts_bench.cli import options
from tvts_bench.cli.console import say, stdout
from tvts_bench.cli.options import FromFields, of_data, of_machine, of_output, of_protocol
from tvts_bench.errors import UserError
from tvts_bench.runtime import Runtime, default_workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from tvts_bench.check import CheckReport
    from tvts_bench.datasets.base import Dataset, DatasetInfo

PROBLEMS_FOUND = 1  # exit code of `check`


Splits = Annotated[
    list[str] | None,
    of_data(
        "--split",
        help="Split to check; repeat for several. All by default, so that videos in two splits show.",
        show_default=False,
    ),
]
Csv = Annotated[
    Path | None,
    of_output(
        "--out",
        help="CSV with one row per problem: split, id, path, problem, detail. check-DATASET.csv by default.",
        show_default=False,
    ),
]
Resume = Annotated[
    bool,
    of_machine(
        "--resume/--fresh", help="Read only files that are new or changed since the last check, or all of them again."
    ),
]
Decoder = Annotated[
    str,
    of_protocol(
        "--decoder",
        help="pyav decodes every frame, from the first to the last; decord, where it can seek, 16 spread ones.",
    ),
]
Timeout = Annotated[
    float,
    of_machine(
        "--timeout",
        help="Seconds a worker may spend on one file before it is killed and the file listed as timed out.",
    ),
]
Reading = Annotated[dict[str, Any], FromFields(Runtime, ("workers", "cache"), options.MACHINE)]


def datasets(
    data: options.Data = options.NO_DATA,
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

    dataset, root = data.dataset, data.root
    if dataset is None and root is not None:
        raise UserError(f"--root {root} needs --dataset NAME, one of: {', '.join(registry.names('datasets'))}")
    if dataset is not None and root is not None:
        rows = _presence(load_dataset(dataset, root, annotations=data.annotations, fold=data.fold))
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
    place: options.Place = options.NO_PLACE,
    split: Splits = None,
    out: Csv = None,
    resume: Resume = True,
    decoder: Decoder = "pyav",
    timeout: Timeout = 120.0,
    reading: Reading = options.NOTHING,
    debug: options.Debug = False,
) -> None:
    """Read every file and list what is missing, empty, undecodable, damaged, duplicate, leaked or mislabelled.

    An interrupted check resumes where it was. Exit code 0: no problems; 1: problems, listed in the CSV; 2: the check
    itself could not run.

    tvts-bench check ucf101 --root ~/data/ucf101
    """
    from tvts_bench.check import check_dataset, write_csv
    from tvts_bench.cli.progress import progress_bar
    from tvts_bench.datasets.loading import load_dataset
    from tvts_bench.results import require_writable

    given = {"workers": default_workers(), **reading}
    runtime = Runtime(clip_timeout=timeout, progress=progress_bar, **given)
    checked = load_dataset(
        dataset,
        place.root,
        annotations=place.annotations,
        fold=place.fold,
        cache=reading.get("cache"),
        progress=progress_bar,
    )
    target = out or Path(f"check-{checked.name}.csv")
    if target.is_dir():
        raise UserError(f"--out {target} is a folder; give the name of a CSV file in it")
    require_writable(target.parent)
    report = check_dataset(checked, runtime, splits=split or (), decoder=decoder, fresh=not resume)
    write_csv(report.problems, target)
    for name, reason in report.unavailable.items():
        say(f"split {name} not checked: {reason}")
    stdout.print(_report_table(checked.name, report))
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
    """One block per data set; made for terminals of 80 columns."""
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
