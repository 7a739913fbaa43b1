"""Options that several commands share, with the one help text each of them has everywhere."""

from pathlib import Path
from typing import Annotated

import typer

MAX_SEED = 2**32 - 1  # what every random generator takes
WEIGHTS, DATA, PROTOCOL, MACHINE, OUTPUT = "Backbone", "Data", "Protocol", "Machine", "Output"

Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--ckpt",
        help="Weights: an official TVTS .pth, our own .safetensors, or a plain state dict. All tensors must fit.",
        rich_help_panel=WEIGHTS,
        show_default=False,
    ),
]
BackboneName = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="Family, or family:variant (tvts:base, tvts:tiny, pixels). Recognised from the file when left out;"
        " without --ckpt the weights are random, a control.",
        rich_help_panel=WEIGHTS,
        show_default=False,
    ),
]
InitSeed = Annotated[
    int,
    typer.Option(
        "--init-seed", min=0, max=MAX_SEED, help="Seed of randomly initialised weights.", rich_help_panel=WEIGHTS
    ),
]
DatasetName = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="ssv2, k400, ucf101, hmdb51, folder, list, or scripted_motion (embedded; the default)."
        " `tvts-bench datasets` lists them.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
Root = Annotated[
    Path | None,
    typer.Option("--root", help="Folder of the data set, as downloaded.", rich_help_panel=DATA, show_default=False),
]
Annotations = Annotated[
    Path | None,
    typer.Option(
        "--annotations",
        help="List file, or folder of lists, in place of the one under --root.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
Fold = Annotated[
    int, typer.Option("--fold", min=1, max=3, help="Official split of UCF-101 and HMDB-51.", rich_help_panel=DATA)
]
Split = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Split to measure; by default the one that the data set's papers report.",
        rich_help_panel=DATA,
        show_default=False,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Stop with an error if any clip cannot be read, instead of listing and counting it.",
        rich_help_panel=DATA,
    ),
]
Decoder = Annotated[
    str,
    typer.Option(
        "--decoder", help="decord (guarded, see README) or pyav. Part of the record.", rich_help_panel=PROTOCOL
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        help="fp32, bf16, or auto: bf16 where the processor has it. Part of the record.",
        rich_help_panel=MACHINE,
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...", rich_help_panel=MACHINE)]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=0,
        help="Decoding processes; one a core by default.",
        rich_help_panel=MACHINE,
        show_default=False,
    ),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Clips in a forward pass.", rich_help_panel=MACHINE)
]
ClipTimeout = Annotated[
    float,
    typer.Option(
        "--clip-timeout",
        help="Seconds a worker may spend on one file before it is killed and the file listed.",
        rich_help_panel=MACHINE,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Folder of features and embedded data; $TVTS_BENCH_CACHE or the user's cache folder by default.",
        rich_help_panel=MACHINE,
        show_default=False,
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Folder that results go to.", rich_help_panel=OUTPUT)]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON to standard output.", rich_help_panel=OUTPUT)
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error, and what is logged.", rich_help_panel=OUTPUT)
]
