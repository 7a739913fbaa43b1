"""Options that commands share, each with one help text, and options that are made of the fields of a dataclass.

A parameter of a command may be a group of options, a dataclass of them, or be annotated with `FromFields`; typer reads
each option of it, and the command gets the group, or a dictionary of the fields that were given.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, get_args, get_type_hints

import typer

from tvts_bench.config_fields import FieldOption, field_options
from tvts_bench.runtime import Runtime
from tvts_bench.video.spec import MAX_SEED, SAMPLINGS, ClipSpec

WEIGHTS, DATA, PROTOCOL, RECIPE, MACHINE, OUTPUT = "Backbone", "Data", "Protocol", "Recipe", "Machine", "Output"

of_weights = partial(typer.Option, rich_help_panel=WEIGHTS, show_default=False)
of_data = partial(typer.Option, rich_help_panel=DATA)
of_protocol = partial(typer.Option, rich_help_panel=PROTOCOL)
of_recipe = partial(typer.Option, rich_help_panel=RECIPE)
of_machine = partial(typer.Option, rich_help_panel=MACHINE)
of_output = partial(typer.Option, rich_help_panel=OUTPUT)


@dataclass(frozen=True)
class FromFields:
    """The annotation of a parameter: options for fields of a dataclass, made of their own annotations.

    The command gets those that were given, by field, already checked; without `defaults` nothing is given at first.
    """

    cls: type
    names: tuple[str, ...]
    panel: str
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def fields(self) -> dict[str, FieldOption]:
        """The fields by the name of the option's parameter."""
        every = field_options(self.cls)
        return {every[name].flag.strip("-").replace("-", "_"): every[name] for name in self.names}

    def parameter(self, name: str, field: FieldOption) -> inspect.Parameter:
        """The option of a field as typer reads it."""
        kind = field.type if field.type in (int, float, bool, Path) else str
        default = self.defaults.get(field.name)
        limits = field.option.range.in_words_of_help
        option = typer.Option(
            field.flag,
            help=f"{field.option.help} {limits}".strip(),
            rich_help_panel=self.panel,
            show_default=default is not None,
        )
        optional = kind if default is not None else kind | None
        return _parameter(name, Annotated[optional, option], default)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


Split = Annotated[
    str | None,
    of_data(
        "--split", help="Split to measure; by default the one that the data set's papers report.", show_default=False
    ),
]
TrainSplit = Annotated[str, of_data("--train-split", help="Split to train on.")]
AllowSharedClips = Annotated[
    bool, of_data("--allow-shared-clips", help="Test on clips that are trained on, too; the result says how many.")
]
Strict = Annotated[bool, of_data("--strict", help=field_options(Runtime)["strict"].option.help)]
Resume = Annotated[bool, of_recipe("--resume", help=field_options(Runtime)["resume"].option.help)]
Decoder = Annotated[str, of_protocol("--decoder", help="decord (guarded, see README) or pyav. Part of the record.")]
Out = Annotated[Path, of_output("--out", help="Folder that results go to.")]
AsJson = Annotated[bool, of_output("--json", help="Print the result as JSON to standard output.")]
Debug = Annotated[bool, of_output("--debug", help="Show the traceback of an error, and what is logged.")]
Seeds = Annotated[int, of_protocol("--seeds", min=1, help="Number of seeds: mean and spread over them.")]
WeightsKey = Annotated[
    str | None,
    of_weights(
        "--weights",
        metavar="ema|KEY",
        help="Which of a training checkpoint's weights: ema for their running average, or the key that they are under"
        " (model, model_ema, teacher, student; `tvts-bench inspect` shows them). The usual ones by default.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Which backbone, with which weights."""

    ckpt: Annotated[
        str | None,
        of_weights(
            "--ckpt",
            help="Weights: a family's official file, our own .safetensors, a plain state dict, a folder with"
            " config.json, hf://OWNER/NAME\\[@REVISION]\\[/FILE], or timm/NAME. All tensors must fit.",
        ),
    ] = None
    weights: WeightsKey = None
    backbone: Annotated[
        str | None,
        of_weights(
            "--backbone",
            help="Family, or family:variant (tvts:base, clip, pixels; `tvts-bench backbones` lists them), or a function"
            " of your own, my_module:build or my_file.py:build. Recognised from the file when left out; without --ckpt"
            " the weights are random, a baseline.",
        ),
    ] = None
    init_seed: Annotated[
        int,
        of_weights("--init-seed", min=0, max=MAX_SEED, help="Seed of randomly initialised weights.", show_default=True),
    ] = 0


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a data set is."""

    root: Annotated[
        Path | None, of_data("--root", help="Folder of the data set, as downloaded.", show_default=False)
    ] = None
    annotations: Annotated[
        Path | None,
        of_data(
            "--annotations",
            help="List file, or folder of lists, in place of the one under --root.",
            show_default=False,
        ),
    ] = None
    fold: Annotated[int, of_data("--fold", min=1, max=3, help="Official split of UCF-101 and HMDB-51.")] = 1


@dataclass(frozen=True, kw_only=True)
class Data(Place):
    """Which data set, and where it is."""

    dataset: Annotated[
        str | None,
        of_data(
            "--dataset",
            help="ssv2, k400, ucf101, hmdb51, folder, list, or scripted_motion (built in, synthetic; the default)."
            " `tvts-bench datasets` lists them.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What of a backbone's own clip is changed; nothing by default."""

    sampling: Annotated[
        str | None,
        of_protocol(
            "--sampling",
            help=f"Frames: {'; '.join(f'{name}: {each.help}' for name, each in SAMPLINGS.items())}. By default the"
            " backbone's own (center for tvts); where clips are trained on, the recipe's,"
            f" {' or '.join(name for name, each in SAMPLINGS.items() if each.for_training)},"
            " which training varies.",
            show_default=False,
        ),
    ] = None
    views: Annotated[
        str | None,
        of_protocol("--views", help="Temporal x spatial views a video, averaged: 1x1, 2x3, ...", show_default=False),
    ] = None
    fields: Annotated[
        dict[str, Any],
        FromFields(
            ClipSpec,
            ("num_frames", "stride", "short_side", "crop", "resize", "interpolation", "mean", "std"),
            PROTOCOL,
        ),
    ] = dataclasses.field(default_factory=dict)

    @property
    def pixels(self) -> dict[str, Any]:
        """What is left to change where a recipe chooses frames and views: how many frames, and their pixels."""
        return {name: value for name, value in self.fields.items() if name != "stride"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how fast to run."""

    dtype: Annotated[
        str, of_machine("--dtype", help="fp32, bf16, or auto: bf16 where the processor has it. Part of the record.")
    ] = "auto"
    runtime: Annotated[
        dict[str, Any],
        FromFields(
            Runtime,
            ("device", "workers", "batch_size", "clip_timeout", "cache"),
            MACHINE,
            MappingProxyType({"device": "auto", "batch_size": 16, "clip_timeout": 120.0}),
        ),
    ] = dataclasses.field(default_factory=dict)

    @property
    def cache(self) -> Path | None:
        """Where features and the built-in data are kept; None: the usual folder."""
        return self.runtime.get("cache")


NO_WEIGHTS, NO_PLACE, NO_DATA, NO_CLIP, ANY_MACHINE = Weights(), Place(), Data(), Clip(), Machine()
NOTHING: dict[str, Any] = {}
"""Groups in which nothing is given: the defaults of parameters."""


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with every parameter that stands for several options replaced by these, in its place."""
    hints = get_type_hints(command, include_extras=True)
    parameters = [
        each
        for name, parameter in inspect.signature(command).parameters.items()
        for each in _options(name, hints[name], parameter.default)
    ]

    def run(**given: Any) -> None:
        command(**{name: _collect(name, hint, given) for name, hint in hints.items() if name != "return"})

    functools.update_wrapper(run, command)
    del run.__wrapped__  # type: ignore[attr-defined]  # typer must read this signature, not the one behind it
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _from_fields(hint: Any) -> FromFields | None:
    return next((extra for extra in get_args(hint)[1:] if isinstance(extra, FromFields)), None)


def _options(name: str, hint: Any, default: Any) -> list[inspect.Parameter]:
    """The single options of a parameter."""
    if (made := _from_fields(hint)) is not None:
        return [made.parameter(*each) for each in made.fields.items()]
    if not (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
        return [_parameter(name, hint, default)]
    types = get_type_hints(hint, include_extras=True)
    return [
        each for field in dataclasses.fields(hint) for each in _options(field.name, types[field.name], field.default)
    ]


def _collect(name: str, hint: Any, given: dict[str, Any]) -> Any:
    """The value of a parameter; options that belong to it are taken out of `given`."""
    if (made := _from_fields(hint)) is not None:
        values = {field.name: (field, given.pop(option)) for option, field in made.fields.items()}
        return {key: field.read(value) for key, (field, value) in values.items() if value is not None}
    if not (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
        return given.pop(name)
    types = get_type_hints(hint, include_extras=True)
    return hint(**{field.name: _collect(field.name, types[field.name], given) for field in dataclasses.fields(hint)})
