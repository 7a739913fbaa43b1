"""`tvts-bench ablate`: a grid of pretraining runs, each measured."""

import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer
from rich.text import Text

from tvts_bench.cli.console import say, stderr, stdout
from tvts_bench.cli.options import MACHINE
from tvts_bench.cli.report import duration, live, status_table
from tvts_bench.config_fields import Option, field_options
from tvts_bench.errors import UserError, name_values
from tvts_bench.printable import printable
from tvts_bench.runtime import Runtime, default_cache

if TYPE_CHECKING:
    from tvts_bench.ablations.jobs import CellJob, Outcome
    from tvts_bench.ablations.local import Slots
    from tvts_bench.ablations.plan import GridRequest, Plan, PlannedCell
    from tvts_bench.ablations.slurm import SlurmOptions

LAUNCHERS = ("local", "slurm")
INCOMPLETE = 1  # exit code where a cell failed, or is left


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """Which cells."""

    panel: ClassVar[str] = "Grid"

    preset: Annotated[
        str,
        Option(
            "How much is trained and measured. quick: one seed, minutes on two cores; standard: five seeds; full: the"
            " whole of a preset."
        ),
    ] = "quick"
    pretrain: Annotated[
        str | None,
        Option(
            "Preset of tvts-pretrain that is varied, or a YAML file like one. Without it: scripted_motion_quick for"
            " quick and standard, scripted_motion_tiny for full."
        ),
    ] = None
    set: Annotated[
        list[str] | None, Option("Any key of tvts-pretrain, for all cells; repeat it.", form="KEY=VALUE")
    ] = None
    value: Annotated[list[str] | None, Option("A further value of the key that the grid varies; repeat it.")] = None
    seeds: Annotated[int | None, Option("Runs of every row: seeds 0, 1, ...; 5 in standard, else 1.", least=1)] = None
    evaluate: Annotated[
        str | None,
        Option(
            "What is measured: retrieval,probe,finetune. By default the first two in quick and standard, all in full."
        ),
    ] = None
    data: Annotated[
        list[str] | None,
        Option("A real data set in place of the built-in synthetic one, such as ssv2=DIR; repeat it.", form="NAME=DIR"),
    ] = None
    only: Annotated[list[str] | None, Option("Run only these cells; repeat it.", form="ROW[:SEED]")] = None

    def request(self, grid: str, out: Path) -> "GridRequest":
        """What is asked of the grid of that name.

        Raises:
            UserError: There is no such grid, or a value makes no sense to it.
        """
        from tvts_bench.ablations.grids import find_budget, find_grid
        from tvts_bench.ablations.plan import GridRequest

        is_file = self.pretrain is not None and self.pretrain.endswith((".yaml", ".yml"))
        protocols = (name.strip() for name in self.evaluate.split(",")) if self.evaluate else ()
        budget = find_budget(self.preset)
        return GridRequest(
            grid=find_grid(grid).with_values(self.value or ()),
            budget=budget,
            out=out.absolute(),
            pretrain=str(Path(self.pretrain).absolute()) if self.pretrain and is_file else self.pretrain,
            changes=name_values("--set", self.set, may_be_empty=True),
            seeds=self.seeds or budget.seeds,
            protocols=tuple(dict.fromkeys(protocols)),
            data=name_values("--data", self.data, may_be_empty=True),
        )


@dataclass(frozen=True, kw_only=True)
class LaunchOptions:
    """Where and how they run."""

    panel: ClassVar[str] = "Launcher"

    launcher: Annotated[str, Option("local: this machine. slurm: one job per cell.")] = "local"
    dry_run: Annotated[bool, Option("Show cells, commands and an estimate of time; run nothing.")] = False
    retry_failed: Annotated[bool, Option("Try again what has failed before.")] = False
    cell_timeout: Annotated[
        float | None, Option("Seconds that a cell may take in one go; then it is saved, and counts as failed.", above=0)
    ] = None
    jobs: Annotated[
        int | None,
        Option("Cells at once; on this machine one per core, or one per GPU, by default.", least=1),
    ] = None
    out: Annotated[Path, Option("Folder of the cells; grids share those they have in common.")] = Path("runs/ablations")
    slurm: Annotated[
        list[str] | None,
        Option(
            "What a job asks for: partition=, time=MINUTES (720), cpus= (4), gpus= (0), mem=, constraint=, or any other"
            " option of sbatch (account=x); repeat it.",
            form="NAME=VALUE",
        ),
    ] = None
    device: Annotated[str, field_options(Runtime)["device"].option, MACHINE] = "auto"

    def cluster(self) -> "SlurmOptions | None":
        """What a job of Slurm asks for; None where it is not Slurm that runs them.

        Raises:
            UserError: An unknown launcher, or options of another.
        """
        from tvts_bench.ablations.grids import unknown
        from tvts_bench.ablations.slurm import slurm_options

        if self.launcher not in LAUNCHERS:
            raise unknown("launcher", self.launcher, LAUNCHERS)
        if self.launcher == "slurm":
            return slurm_options(name_values("--slurm", self.slurm, may_be_empty=True), self.jobs)
        if self.slurm:
            raise UserError(f"--slurm {self.slurm[0]} says what a job of Slurm asks for: add --launcher slurm")
        return None


def ablate(
    grid: Annotated[
        str,
        typer.Argument(
            metavar="GRID",
            help="sort-target, objective, sort-modeling (the paper's tables 1 to 3), num-transcripts, mask-ratio,"
            " lambda, segment-length.",
            show_default=False,
        ),
    ],
    cells: GridOptions,
    launch: LaunchOptions,
) -> None:
    """Pretrain and measure every cell of a grid, each in processes of its own. What is done is not done again.

    After Ctrl-C or a crash the same command resumes from the last saved states. A cell that fails, because training
    diverges or for any other reason, is recorded with that reason, and the others are run.

    tvts-bench ablate sort-modeling --dry-run

    tvts-bench ablate sort-modeling --seeds 3

    tvts-bench ablate lambda --value 16 --only 16 --set steps=2000

    tvts-bench ablate objective --preset full --pretrain yt_temporal --set root=YT --data ssv2=SSV2 --data k400=K400
    """
    from tvts_bench.ablations.local import slots_for
    from tvts_bench.ablations.outdated import with_outdated
    from tvts_bench.ablations.plan import Resources, plan

    cluster = launch.cluster()
    request = cells.request(grid, launch.out)
    request = replace(request, data=_folders("--data", request.data, must_exist=not launch.dry_run))
    planned = plan(request, make_starts=not launch.dry_run)
    chosen = planned.only(cells.only or ())
    slots = slots_for(len(chosen), launch.device, launch.jobs)
    resources = Resources(threads=cluster.cpus if cluster else slots.threads, device=launch.device)
    since = time.time() if launch.retry_failed else None
    jobs = [cell.job(resources, launch.cell_timeout, since) for cell in chosen]
    to_run, sentences = with_outdated(jobs, planned.request.evaluations, default_cache())
    for sentence in sentences:
        say(sentence)
    if launch.dry_run:
        if planned.is_provisional:
            say("a common start is not made yet: what depends on it has another key once it is")
        _show_plan(planned, chosen, to_run, cluster.at_once or len(chosen) if cluster else slots.count)
    else:
        _run(planned, to_run, cluster or slots)


def _run(planned: "Plan", jobs: "Sequence[CellJob]", where: "Slots | SlurmOptions") -> None:
    """Run the cells, showing how they stand, and end with the code that says how it went."""
    from tvts_bench.ablations.jobs import outcome_now
    from tvts_bench.ablations.local import Slots, run_local
    from tvts_bench.ablations.outdated import set_aside_changed
    from tvts_bench.ablations.slurm import follow, submit
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
        say(f"{left} cells are left; resume with: {again}")
    if counts["failed"]:
        say(f"{counts['failed']} of {len(outcomes)} cells failed, see {out}/cells/KEY/logs; again with --retry-failed")
    if left or counts["failed"]:
        raise typer.Exit(128 + number if number else INCOMPLETE)


def _show_plan(planned: "Plan", cells: "Sequence[PlannedCell]", jobs: "Sequence[CellJob]", at_once: int) -> None:
    from tvts_bench.ablations.jobs import is_finished
    from tvts_bench.ablations.status import known_seconds, remaining_seconds

    known = known_seconds(planned.request.out, (cell.key for cell in planned.cells))
    total: float | None = 0.0
    for cell, job in zip(cells, jobs, strict=True):
        finished = is_finished(job)
        seconds = 0.0 if finished else remaining_seconds(job, known)
        stdout.print(_planned_lines(cell, job, finished, seconds), end="", soft_wrap=True)
        total = None if total is None or seconds is None else total + seconds
    whole = "time unknown" if total is None else f"about {duration(total / min(at_once, max(len(cells), 1)))}"
    say(f"{len(cells)} cells, {at_once} at once: {whole}")


def _folders(option: str, folders: "Mapping[str, str]", *, must_exist: bool) -> dict[str, str]:
    """The folders of `NAME=DIR`, absolute. One that is not there is missed now, not after hours of pretraining."""
    for name, folder in folders.items():
        if not folder or (must_exist and not Path(folder).is_dir()):
            raise UserError(f"{option} {name}={folder}: there is no such folder")
    return {name: str(Path(folder).absolute()) for name, folder in folders.items()}


def _planned_lines(cell: "PlannedCell", job: "CellJob", finished: bool, seconds: float | None) -> Text:
    """A cell of a dry run: its name, its estimate, and its commands as they can be pasted."""
    left = "finished" if finished else "time unknown" if seconds is None else f"about {duration(seconds)}"
    text = Text.assemble((printable(cell.name), "bold"), f"  {cell.key}  {left}\n")
    for stage in () if finished else job.stages:
        text.append(f"  {printable(shlex.join(('python', *stage.command[1:])))}\n", style="dim")
    return text
