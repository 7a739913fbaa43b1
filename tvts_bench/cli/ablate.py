"""`tvts-bench ablate`: a grid of pretraining runs, each measured; `tvts-bench status`: how grids stand."""

import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvts_bench.cli import options
from tvts_bench.cli.console import say, stderr, stdout
from tvts_bench.config_fields import field_options
from tvts_bench.errors import UserError, name_values
from tvts_bench.runtime import Runtime, default_cache

if TYPE_CHECKING:
    from tvts_bench.ablations.jobs import CellJob, Outcome
    from tvts_bench.ablations.local import Slots
    from tvts_bench.ablations.plan import Plan, PlannedCell
    from tvts_bench.ablations.slurm import SlurmOptions

LAUNCHERS = ("local", "slurm")
INCOMPLETE = 1  # exit code where a cell failed, or is left

of_grid, of_launch = (partial(typer.Option, rich_help_panel=panel) for panel in ("Grid", "Launcher"))

GridName = Annotated[
    str,
    typer.Argument(
        metavar="GRID",
        help="sort-target, objective, sort-modeling (the paper's tables 1 to 3), num-transcripts, mask-ratio, lambda,"
        " segment-length.",
        show_default=False,
    ),
]
Preset = Annotated[
    str,
    of_grid(
        "--preset",
        help="How much is trained and measured. quick: one seed, minutes on two cores; standard: five seeds; full: the"
        " whole of a preset.",
    ),
]
Pretrain = Annotated[
    str | None,
    of_grid(
        "--pretrain",
        help="Preset of tvts-pretrain that is varied, or a YAML file like one. Without it: scripted_motion_quick"
        " for quick and standard, scripted_motion_tiny for full.",
    ),
]
Set = Annotated[
    list[str] | None,
    of_grid("--set", metavar="KEY=VALUE", help="Any key of tvts-pretrain, for all cells; repeat it."),
]
Value = Annotated[
    list[str] | None,
    of_grid("--value", help="A further value of the key that the grid varies; repeat it."),
]
Seeds = Annotated[
    int | None,
    of_grid("--seeds", min=1, help="Runs of every row: seeds 0, 1, ...; 5 in standard, else 1.", show_default=False),
]
Evaluate = Annotated[
    str | None,
    of_grid(
        "--evaluate",
        help="What is measured: retrieval,probe,finetune. By default the first two in quick and standard, all in full.",
        show_default=False,
    ),
]
Data = Annotated[
    list[str] | None,
    of_grid(
        "--data",
        metavar="NAME=DIR",
        help="A real data set in place of the built-in synthetic one, such as ssv2=DIR; repeat it.",
    ),
]
Only = Annotated[
    list[str] | None,
    of_grid("--only", metavar="ROW[:SEED]", help="Run only these cells; repeat it."),
]
Launcher = Annotated[str, of_launch("--launcher", help="local: this machine. slurm: one job per cell.")]
DryRun = Annotated[
    bool,
    of_launch("--dry-run", help="Show cells, commands and an estimate of time; run nothing."),
]
RetryFailed = Annotated[bool, of_launch("--retry-failed", help="Try again what has failed before.")]
CellTimeout = Annotated[
    float | None,
    of_launch(
        "--cell-timeout",
        min=0.001,
        help="Seconds that a cell may take in one go; then it is saved, and counts as failed.",
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    of_launch(
        "--jobs",
        min=1,
        help="Cells at once; on this machine one per core, or one per GPU, by default.",
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    of_launch("--out", help="Folder of the cells; grids share those they have in common."),
]
Slurm = Annotated[
    list[str] | None,
    of_launch(
        "--slurm",
        metavar="NAME=VALUE",
        help="What a job asks for: partition=, time=MINUTES (720), cpus= (4), gpus= (0), mem=, constraint=, or any"
        " other option of sbatch (account=x); repeat it.",
    ),
]
Device = Annotated[str, field_options(Runtime)["device"].option, options.MACHINE]
Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="The --out of `tvts-bench ablate`.")]
Watch = Annotated[bool, typer.Option("--watch", help="Go on showing it until Ctrl-C.")]


def ablate(
    grid: GridName,
    preset: Preset = "quick",
    pretrain: Pretrain = None,
    set_: Set = None,
    value: Value = None,
    seeds: Seeds = None,
    evaluate: Evaluate = None,
    data: Data = None,
    only: Only = None,
    launcher: Launcher = "local",
    slurm: Slurm = None,
    jobs: Jobs = None,
    device: Device = "auto",
    cell_timeout: CellTimeout = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    out: Out = Path("runs/ablations"),
) -> None:
    """Pretrain and measure every cell of a grid, each in processes of its own. What is done is not done again.

    After Ctrl-C or a crash the same command resumes from the last saved states. A cell that fails, because training
    diverges or for any other reason, is recorded with that reason, and the others go on.

    tvts-bench ablate sort-modeling --dry-run

    tvts-bench ablate sort-modeling --seeds 3

    tvts-bench ablate lambda --value 16 --only 16 --set steps=2000

    tvts-bench ablate objective --preset full --pretrain yt_temporal --set root=YT --data ssv2=SSV2 --data k400=K400
    """
    from tvts_bench.ablations.grids import find_budget, find_grid, unknown
    from tvts_bench.ablations.local import slots_for
    from tvts_bench.ablations.outdated import with_outdated
    from tvts_bench.ablations.plan import GridRequest, Resources, plan
    from tvts_bench.ablations.slurm import slurm_options

    if launcher not in LAUNCHERS:
        raise unknown("launcher", launcher, LAUNCHERS)
    if slurm and launcher != "slurm":
        raise UserError(f"--slurm {slurm[0]} says what a job of Slurm asks for: add --launcher slurm")
    budget = find_budget(preset)
    request = GridRequest(
        grid=find_grid(grid).with_values(value or ()),
        budget=budget,
        out=out.absolute(),
        pretrain=str(Path(pretrain).absolute()) if pretrain and pretrain.endswith((".yaml", ".yml")) else pretrain,
        changes=name_values("--set", set_, may_be_empty=True),
        seeds=seeds or budget.seeds,
        protocols=tuple(dict.fromkeys(name.strip() for name in evaluate.split(","))) if evaluate else (),
        data=name_values("--data", data, may_be_empty=True),
    )
    planned = plan(replace(request, data=_folders("--data", request.data, must_exist=not dry_run)))
    cells = planned.only(only or ())
    cluster = slurm_options(name_values("--slurm", slurm, may_be_empty=True), jobs) if launcher == "slurm" else None
    slots = slots_for(len(cells), device, jobs)
    resources = Resources(threads=cluster.cpus if cluster else slots.threads, device=device)
    since = time.time() if retry_failed else None
    checked = with_outdated(
        [cell.job(resources, cell_timeout, since) for cell in cells], planned.request.evaluations, default_cache()
    )
    for sentence in checked.sentences:
        say(sentence)
    to_run = checked.jobs
    if dry_run:
        _show_plan(planned, cells, to_run, cluster.at_once or len(cells) if cluster else slots.count)
    else:
        _run(planned, to_run, cluster or slots)


def status(folder: Folder = Path("runs/ablations"), watch: Watch = False) -> None:
    """How the grids of a folder stand: every cell, the step it is at, the time left, and why one failed."""
    from tvts_bench.cli.ablation_views import live, status_table
    from tvts_bench.results.grids import GridError, grid_names, grid_roots, read_grid

    grids = [
        (root, grid) for root in grid_roots(folder) for name in grid_names(root) if (grid := read_grid(root, name))
    ]
    if not grids:
        raise GridError(
            f"{folder} holds no grid (no {folder / 'grids'}): start one with `tvts-bench ablate GRID --out`"
        )
    if not watch:
        for root, grid in grids:
            stdout.print(status_table(root, grid))
        return
    with live(grids, stdout) as look:
        while True:
            look()
            time.sleep(1)


def _run(planned: "Plan", jobs: "Sequence[CellJob]", where: "Slots | SlurmOptions") -> None:
    """Run the cells, showing how they stand, and end with the code that says how it went."""
    from tvts_bench.ablations.jobs import outcome_now
    from tvts_bench.ablations.local import Slots, run_local
    from tvts_bench.ablations.outdated import set_aside_changed
    from tvts_bench.ablations.slurm import follow, submit
    from tvts_bench.cli.ablation_views import live, status_table
    from tvts_bench.results import require_writable
    from tvts_bench.results.grids import merge_records, read_grid, write_grid
    from tvts_bench.signals import stop_signals

    out = planned.request.out
    require_writable(out)
    before = read_grid(out, planned.record.grid)
    if before is not None and (other := before.keys - planned.record.keys):
        say(f"{len(other)} cells that this grid had before are of other settings, seeds or versions: left as they are")
    set_aside_changed(jobs)
    record = merge_records(planned.record, before, out)
    outcomes = {job.key: outcome_now(job) for job in jobs}
    left = [job for job in jobs if outcomes[job.key] == "stopped"]
    with stop_signals() as stopped:
        submitted = submit(left, where, out) if left and not isinstance(where, Slots) else []
        write_grid(out, record)  # once nothing refuses to run it: tables are made of it
        with live([(out, record)], stderr) as look:
            if isinstance(where, Slots):
                outcomes |= run_local(left, where, lambda: bool(stopped()), look)
            elif left:
                outcomes |= follow(left, submitted, lambda: bool(stopped()), look)
        number = stopped()
    stdout.print(status_table(out, record))
    _end(outcomes, number, out, not isinstance(where, Slots))


def _end(outcomes: "Mapping[str, Outcome]", number: int, out: Path, on_cluster: bool) -> None:
    """Say what is left and what failed, and exit with the code that says so, too; 0 where all is done."""
    counts = Counter(outcomes.values())
    left = counts["stopped"] + counts["taken"]
    again = shlex.join(["tvts-bench", *sys.argv[1:]])
    if left and on_cluster and number:
        say(f"{left} cells run on in their jobs (squeue --name tvts-ablate); see them with: tvts-bench status {out}")
    elif left:
        say(f"{left} cells are left; go on with: {again}")
    if counts["failed"]:
        say(f"{counts['failed']} of {len(outcomes)} cells failed, see {out}/cells/KEY/logs; again with --retry-failed")
    if left or counts["failed"]:
        raise typer.Exit(128 + number if number else INCOMPLETE)


def _show_plan(planned: "Plan", cells: "Sequence[PlannedCell]", jobs: "Sequence[CellJob]", at_once: int) -> None:
    from tvts_bench.ablations.jobs import is_finished
    from tvts_bench.ablations.status import known_seconds, remaining_seconds
    from tvts_bench.cli.ablation_views import duration, planned_lines

    known = known_seconds(planned.request.out, (cell.key for cell in planned.cells))
    total: float | None = 0.0
    for cell, job in zip(cells, jobs, strict=True):
        finished = is_finished(job)
        seconds = 0.0 if finished else remaining_seconds(job, known)
        stdout.print(planned_lines(cell, job, finished, seconds), end="", soft_wrap=True)
        total = None if total is None or seconds is None else total + seconds
    whole = "time unknown" if total is None else f"about {duration(total / min(at_once, max(len(cells), 1)))}"
    say(f"{len(cells)} cells, {at_once} at once: {whole}")


def _folders(option: str, folders: "Mapping[str, str]", *, must_exist: bool) -> dict[str, str]:
    """The folders of `NAME=DIR`, absolute. One that is not there is missed now, not after hours of pretraining."""
    for name, folder in folders.items():
        if not folder or (must_exist and not Path(folder).is_dir()):
            raise UserError(f"{option} {name}={folder}: there is no such folder")
    return {name: str(Path(folder).absolute()) for name, folder in folders.items()}
