"""Options of the commands that fill tables, beside those that all commands share."""

from pathlib import Path
from typing import Annotated

import typer

from tvts_bench.cli import options

Checkpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--ckpt",
        metavar="ROW=FILE",
        help="Weights for a row of the table: TVTS=TVTS_yt_pt.pth. Repeat it. All tensors must fit. A backbone that"
        " the paper's table does not have gets a row of its own: dinov2=FILE.",
        rich_help_panel=options.WEIGHTS,
    ),
]
Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="SET=DIR",
        help="Folder of a real data set: ssv2=DIR. Repeat it. Without any, the embedded world stands in for all.",
        rich_help_panel=options.DATA,
    ),
]
AnnotationLists = Annotated[
    list[str] | None,
    typer.Option(
        "--annotations",
        metavar="SET=PATH",
        help="List file, or folder of lists, in place of the one under --data: ssv2=LISTS. Repeat it.",
        rich_help_panel=options.DATA,
    ),
]
Probe = Annotated[
    str | None,
    typer.Option(
        "--probe",
        help="Of a linear-probe column: cached (the default: features extracted once) or paper (online, augmented).",
        rich_help_panel=options.PROTOCOL,
        show_default=False,
    ),
]
Accumulate = Annotated[
    int | None,
    typer.Option(
        "--accumulate",
        min=1,
        help="Of a fine-tuning column: micro-batches of a step, for the recipe's batch in less memory.",
        rich_help_panel=options.PROTOCOL,
        show_default=False,
    ),
]
Ablations = Annotated[
    Path | None,
    typer.Option(
        "--ablations",
        metavar="DIR",
        help="Of tables 1 to 3: the --out of `tvts-bench ablate`. By default runs/ablations, or where that holds no"
        " such grid, a folder in --out that does.",
        rich_help_panel=options.DATA,
        show_default=False,
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="ROW",
        help="Row that the others are tested against.",
        rich_help_panel=options.PROTOCOL,
        show_default=False,
    ),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh",
        help="Measure again what --out holds already; what was fine-tuned is set aside, and every call with --fresh"
        " begins its trainings anew.",
        rich_help_panel=options.OUTPUT,
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        help="Folder of results: the table goes to OUT/tables, the runs that it is made of to OUT/runs.",
        rich_help_panel=options.OUTPUT,
    ),
]
