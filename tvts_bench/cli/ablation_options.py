"""Options of `tvts-bench ablate` and `tvts-bench status`."""

from pathlib import Path
from typing import Annotated

import typer

GRID, LAUNCH = "Grid", "Launcher"

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
    typer.Option(
        "--preset",
        help="How much is trained and measured. quick: one seed, minutes on two cores; standard: five seeds; full: the"
        " whole of a preset.",
        rich_help_panel=GRID,
    ),
]
Pretrain = Annotated[
    str | None,
    typer.Option(
        "--pretrain",
        help="Preset of tvts-pretrain that is varied, or a YAML file like one. Without it: scripted_motion_quick"
        " for quick and standard, scripted_motion_tiny for full.",
        rich_help_panel=GRID,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any key of tvts-pretrain, for all cells; repeat it.", rich_help_panel=GRID
    ),
]
Value = Annotated[
    list[str] | None,
    typer.Option("--value", help="A further value of the key that the grid varies; repeat it.", rich_help_panel=GRID),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        min=1,
        help="Runs of every row: seeds 0, 1, ...; 5 in standard, else 1.",
        rich_help_panel=GRID,
        show_default=False,
    ),
]
Evaluate = Annotated[
    str | None,
    typer.Option(
        "--evaluate",
        help="What is measured: retrieval,probe,finetune. By default the first two in quick, all in full.",
        rich_help_panel=GRID,
        show_default=False,
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="NAME=DIR",
        help="A real data set in place of the embedded world's, such as ssv2=DIR; repeat it.",
        rich_help_panel=GRID,
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="ROW[:SEED]", help="Run only these cells; repeat it.", rich_help_panel=GRID),
]
Launcher = Annotated[
    str, typer.Option("--launcher", help="local: this machine. slurm: a job a cell.", rich_help_panel=LAUNCH)
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Show cells, commands and an estimate of time; run nothing.", rich_help_panel=LAUNCH
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Try again what has failed before.", rich_help_panel=LAUNCH)
]
CellTimeout = Annotated[
    float | None,
    typer.Option(
        "--cell-timeout",
        min=0.001,
        help="Seconds that a cell may take in one go; then it is saved, and counts as failed.",
        rich_help_panel=LAUNCH,
        show_default=False,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        help="Cells at once; on this machine one a core, or one a GPU, by default.",
        rich_help_panel=LAUNCH,
        show_default=False,
    ),
]
Out = Annotated[
    Path,
    typer.Option("--out", help="Folder of the cells; grids share those they have in common.", rich_help_panel=LAUNCH),
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="NAME=VALUE",
        help="What a job asks for: partition=, time=MINUTES (720), cpus= (4), gpus= (0), mem=, constraint=, or any"
        " other option of sbatch (account=x); repeat it.",
        rich_help_panel=LAUNCH,
    ),
]
