"""`tvts-bench datasets`, `check` and `make-data`: what there is, whether a copy is sound, and the synthetic set."""

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from tvts_bench.cli import options
from tvts_bench.cli.console import progress_bar, say, stderr, stdout, table
from tvts_bench.cli.options import DATA, MACHINE, OUTPUT, PROTOCOL, FromFields
from tvts_bench.config_fields import Option
from tvts_bench.errors import UserError
from tvts_bench.runtime import Runtime, default_workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from tvts_bench.check import CheckReport
    from tvts_bench.datasets.base import Dataset, DatasetInfo
    from tvts_bench.datasets.scripted_motion import World

PROBLEMS_FOUND = 1  # exit code of `check`
WORLDS = ("scripted-motion",)
_SIZES = ("ssv2_train", "ssv2_val", "k400_train", "k400_val", "ucf_groups", "hmdb_clips")
_LEAST = 4  # groups and clips a class that three test splits need


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """What is checked, and how."""

    panel: ClassVar[str] = MACHINE

    split: Annotated[
        list[str] | None,
        Option("Split to check; repeat for several. All by default, so that videos in two splits show."),
        DATA,
    ] = None
    out: Annotated[
        Path | None,
        Option("CSV with one row per problem: split, id, path, problem, detail. check-DATASET.csv by default."),
        OUTPUT,
    ] = None
    resume: Annotated[
        bool,
        Option(
            "Read only files that are new or changed since the last check, or all of them again.",
            flag="--resume/--fresh",
        ),
    ] = True
    decoder: Annotated[
        str,
        Option("pyav decodes every frame, from the first to the last; decord, where it can seek, 16 spread ones."),
        PROTOCOL,
    ] = "pyav"
    timeout: Annotated[
        float,
        Option("Seconds a worker may spend on one file before it is killed and the file listed as timed out."),
        MACHINE,
    ] = 120.0


def datasets(data: options.Data, as_json: options.AsJson = False) -> None:
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
    location: options.Location,
    reading: Annotated[dict[str, Any], FromFields(Runtime, ("workers", "cache"), MACHINE)],
    how: CheckOptions,
) -> None:
    """Read every file and list what is missing, empty, undecodable, damaged, duplicate, leaked or mislabelled.

    An interrupted check resumes where it was. Exit code 0: no problems; 1: problems, listed in the CSV; 2: the check
    itself could not run.

    tvts-bench check ucf101 --root ~/data/ucf101
    """
    from tvts_bench.check import check_dataset, write_csv
    from tvts_bench.datasets.loading import load_dataset
    from tvts_bench.results import require_writable

    given = {"workers": default_workers(), **reading}
    runtime = Runtime(clip_timeout=how.timeout, progress=progress_bar, **given)
    checked = load_dataset(
        dataset,
        location.root,
        annotations=location.annotations,
        fold=location.fold,
        cache=reading.get("cache"),
        progress=progress_bar,
    )
    target = how.out or Path(f"check-{checked.name}.csv")
    if target.is_dir():
        raise UserError(f"--out {target} is a folder; give the name of a CSV file in it")
    require_writable(target.parent)
    report = check_dataset(checked, runtime, splits=how.split or (), decoder=how.decoder, fresh=not how.resume)
    write_csv(report.problems, target)
    for name, reason in report.unavailable.items():
        say(f"split {name} not checked: {reason}")
    stdout.print(_report_table(checked.name, report))
    stdout.print(f"{len(report.problems)} problems in {target}", soft_wrap=True)
    if report.problems:
        raise typer.Exit(PROBLEMS_FOUND)


def _report_table(name: str, report: "CheckReport") -> "Table":
    from tvts_bench.check.problems import KINDS

    shown = [kind for kind in KINDS if any(row.problem == kind for row in report.problems)]
    again = f", {report.recalled:,} unchanged since the last check" if report.recalled else ""
    rows = (
        (split, f"{listed:,}", *(f"{report.count(split, kind):,}" for kind in shown))
        for split, listed in report.listed.items()
    )
    headings = ("split", ">listed", *(f">{kind}" for kind in shown))
    return table(headings, rows, caption=f"{name}: {report.read:,} files read{again}", min_width=60)


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
    made = table(("split", ">listed", ">present", "official", ""), title=name)
    for split, row in rows.items():
        if "unavailable" in row:
            made.add_row(split, "", "0", "", row["unavailable"])
            continue
        official = _either(row["official"]) or "your own"
        state = "complete" if row["complete"] else "incomplete"
        made.add_row(split, f"{row['listed']:,}", f"{row['present']:,}", official, state)
    return made


def make_data(
    world: Annotated[str, typer.Argument(help="What to make: scripted-motion.")],
    out: Annotated[Path, Option("Folder to write. A world that is there is completed.")],
    part: Annotated[
        list[str] | None,
        Option(
            "ssv2, k400, ucf101, hmdb51, narrated, or one part of them (ssv2-val); repeatable. By default the four"
            " labelled ones, and narrated with --narrated."
        ),
    ] = None,
    seed: Annotated[int | None, Option("Everything is drawn from it; 0 if not given.", least=0)] = None,
    size: Annotated[
        float | None,
        Option("Clips in each labelled part, as a multiple of the usual number.", above=0, most=10_000),
    ] = None,
    narrated: Annotated[
        int | None, Option("Narrated videos for training; a tenth as many for validation.", least=1)
    ] = None,
    setting: Annotated[
        list[str] | None, Option("Any field of the world, NAME=VALUE; repeatable.", flag="--set")
    ] = None,
    workers: Annotated[
        int | None,
        Option("Processes that render and encode; one per core by default. The frames do not depend on it.", least=0),
        MACHINE,
    ] = None,
) -> None:
    """Write a small world of real video files in the layouts of the official data sets."""
    from tvts_bench.datasets.scripted_motion import make_world, read_manifest

    if world.replace("_", "-") not in WORLDS:
        raise UserError(f"cannot make {world!r}; there is: {', '.join(WORLDS)}")
    existing = read_manifest(out)
    is_bare = all(option is None for option in (seed, size, narrated, setting))
    config = existing.world if existing and is_bare else _world(seed or 0, size, narrated, setting or [])
    manifest = make_world(out, config, _parts(part, narrated is not None), workers, progress_bar)
    for name, made in manifest.parts.items():
        line = f"{name:<15} {made.items:>6,} files {made.frames:>9,} frames  sha256 {made.frames_sha256[:16]}"
        stdout.print(line)
    stderr.print(f"in {out}; read it with --dataset scripted_motion:ssv2 --root {out}", style="dim")


def _world(seed: int, size: float | None, narrated: int | None, settings: list[str]) -> "World":
    """The configuration that the options describe."""
    from tvts_bench.datasets.scripted_motion import World

    world = World(seed=seed)
    factor = 1.0 if size is None else size
    scaled = {name: max(round(getattr(world, name) * factor), _LEAST) for name in _SIZES}
    if narrated is not None:
        scaled |= {"narrated_train": narrated, "narrated_val": max(narrated // 10, 1)}
    known = {field.name for field in fields(World)}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise UserError(f"--set {text!r}: expected NAME=VALUE with NAME one of {', '.join(sorted(known))}")
        if re.fullmatch(r"[-+]?[0-9]{1,18}", value) is None:  # int() takes 1_000, too, and other scripts' digits
            raise UserError(f"--set {text!r}: {value!r} is not a whole number")
        scaled[name] = int(value)
    return replace(world, **scaled)


def _parts(chosen: list[str] | None, narrated: bool) -> list[str]:
    """Parts by their own name or by that of their data set."""
    from tvts_bench.datasets.scripted_motion import LABELLED, PARTS

    if not chosen:
        return list(PARTS if narrated else LABELLED)
    parts: list[str] = []
    for name in chosen:
        matches = [part for part in PARTS if part == name or part.rpartition("-")[0] == name]
        if not matches:
            sets = dict.fromkeys(part.partition("-")[0] for part in PARTS)
            raise UserError(f"--part {name!r}: expected one of {', '.join((*sets, *PARTS))}")
        parts += matches
    return list(dict.fromkeys(parts))
