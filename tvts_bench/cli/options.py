"""Options that several commands share, with the one help text each of them has everywhere."""

from pathlib import Path
from typing import Annotated

import typer

MAX_SEED = 2**32 - 1  # what every random generator takes
WEIGHTS, DATA, PROTOCOL, MACHINE, OUTPUT = "Backbone", "Data", "Protocol", "Machine", "Output"

Checkpoint = Annotated[
    str | None,
    typer.Option(
        "--ckpt",
        help="Weights: a family's official file, our own .safetensors, a plain state dict, a folder with config.json,"
        " hf://OWNER/NAME\\[@REVISION]\\[/FILE], or timm/NAME. All tensors must fit.",
        rich_help_panel=WEIGHTS,
        show_default=False,
    ),
]
WeightsKey = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="ema|KEY",
        help="Which of a training checkpoint's weights: ema for their running average, or the key that they are under"
        " (model, model_ema, teacher, student; `tvts-bench inspect` shows them). The usual ones by default.",
        rich_help_panel=WEIGHTS,
        show_default=False,
    ),
]
BackboneName = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="Family, or family:variant (tvts:base, clip, pixels; `tvts-bench backbones` lists them), or a function of"
        " your own, my_module:build or my_file.py:build. Recognised from the file when left out; without --ckpt the"
        " weights are random, a control.",
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
Sampling = Annotated[
    str | None,
    typer.Option(
        "--sampling",
        help="Frames: center (of equal segments), random (in each segment, the paper's), dense (--stride)."
        " The backbone's own by default: center for tvts.",
        show_default=False,
        rich_help_panel=PROTOCOL,
    ),
]
Frames = Annotated[
    int | None,
    typer.Option("--frames", help="Frames a clip; the backbone's own by default.", rich_help_panel=PROTOCOL),
]
Stride = Annotated[int | None, typer.Option("--stride", help="Frames between dense frames.", rich_help_panel=PROTOCOL)]
Views = Annotated[
    str | None,
    typer.Option(
        "--views",
        help="Temporal x spatial views a video, averaged: 1x1, 2x3, ...",
        rich_help_panel=PROTOCOL,
        show_default=False,
    ),
]
ShortSide = Annotated[
    int | None,
    typer.Option(
        "--short-side",
        help="Pixels that a frame's shorter side is resized to; the backbone's own by default, as for all of these.",
        rich_help_panel=PROTOCOL,
        show_default=False,
    ),
]
Crop = Annotated[
    int | None,
    typer.Option("--crop", help="Pixels of the square cut out of it.", rich_help_panel=PROTOCOL, show_default=False),
]
Resize = Annotated[
    str | None,
    typer.Option(
        "--resize",
        help="short_side, or squash: both sides become --short-side.",
        rich_help_panel=PROTOCOL,
        show_default=False,
    ),
]
Interpolation = Annotated[
    str | None,
    typer.Option(
        "--interpolation", help="Of resizing: bilinear or bicubic.", rich_help_panel=PROTOCOL, show_default=False
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        "--mean",
        help="Subtracted from red, green and blue in 0..1: 0.45, or 0.485,0.456,0.406.",
        rich_help_panel=PROTOCOL,
        show_default=False,
    ),
]
Std = Annotated[
    str | None,
    typer.Option("--std", help="What they are then divided by.", rich_help_panel=PROTOCOL, show_default=False),
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
