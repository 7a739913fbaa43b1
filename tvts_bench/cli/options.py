"""Options of commands, made of annotations of parameters and of fields of dataclasses; and those that commands share.

A parameter annotated with an `Option` is one option. One whose type is a dataclass of them, a group, stands for all of
them, and the command gets the group. One annotated with `FromFields` stands for fields of a configuration, and the
command gets a dictionary of those that were given. A string in an annotation, or the `panel` of a group, is the
heading in `--help`.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import typer

from tvts_bench.config_fields import FieldOption, Option, field_option, field_options
from tvts_bench.runtime import Runtime
from tvts_bench.video.spec import MAX_SEED, SAMPLINGS, ClipSpec

WEIGHTS, DATA, PROTOCOL, RECIPE, MACHINE, OUTPUT = "Backbone", "Data", "Protocol", "Recipe", "Machine", "Output"


@dataclass(frozen=True)
class FromFields:
    """The annotation of a parameter: options for fields of a dataclass, made of their own annotations.

    The command gets those that were given, by field, already checked; without `defaults` nothing is given at first.
    """

    cls: type
    names: tuple[str, ...]
    panel: str
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)


WeightsKey = Annotated[
    str | None,
    Option(
        "Which of a training checkpoint's weights: ema for their running average, or the key that they are under"
        " (model, model_ema, teacher, student; `tvts-bench inspect` shows them). The usual ones by default.",
        form="ema|KEY",
    ),
    WEIGHTS,
]
AsJson = Annotated[bool, Option("Print the result as JSON to standard output.", flag="--json"), OUTPUT]
Debug = Annotated[bool, Option("Show the traceback of an error, and what is logged."), OUTPUT]
Seeds = Annotated[int, Option("Number of seeds: mean and spread over them.", least=1), PROTOCOL]
Resume = Annotated[bool, field_options(Runtime)["resume"].option, RECIPE]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Which backbone, with which weights."""

    panel: ClassVar[str] = WEIGHTS

    ckpt: Annotated[
        str | None,
        Option(
            "Weights: a family's official file, our own .safetensors, a plain state dict, a folder with config.json,"
            " hf://OWNER/NAME\\[@REVISION]\\[/FILE], or timm/NAME. All tensors must fit."
        ),
    ] = None
    weights: WeightsKey = None
    backbone: Annotated[
        str | None,
        Option(
            "Family, or family:variant (tvts:base, clip, pixels; `tvts-bench backbones` lists them), or a function of"
            " your own, my_module:build or my_file.py:build. Recognised from the file when left out; without --ckpt the"
            " weights are random, a baseline."
        ),
    ] = None
    init_seed: Annotated[int, Option("Seed of randomly initialised weights.", least=0, most=MAX_SEED)] = 0


@dataclass(frozen=True, kw_only=True)
class Location:
    """Where a data set is."""

    panel: ClassVar[str] = DATA

    root: Annotated[Path | None, Option("Folder of the data set, as downloaded.")] = None
    annotations: Annotated[Path | None, Option("List file, or folder of lists, in place of the one under --root.")] = (
        None
    )
    fold: Annotated[int, Option("Official split of UCF-101 and HMDB-51.", least=1, most=3)] = 1


@dataclass(frozen=True, kw_only=True)
class Data(Location):
    """Which data set, and where it is."""

    dataset: Annotated[
        str | None,
        Option(
            "ssv2, k400, ucf101, hmdb51, folder, list, or scripted_motion (built in, synthetic; the default)."
            " `tvts-bench datasets` lists them."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Split:
    """What is measured."""

    panel: ClassVar[str] = DATA

    split: Annotated[str | None, Option("Split to measure; by default the one that the data set's papers report.")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class Splits(Split):
    """What is trained on, and what is measured."""

    train_split: Annotated[str, Option("Split to train on.")] = "train"
    allow_shared_clips: Annotated[bool, Option("Test on clips that are trained on, too; the result says how many.")] = (
        False
    )


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """What of a backbone's own clip is changed; nothing by default."""

    panel: ClassVar[str] = PROTOCOL

    sampling: Annotated[
        str | None,
        Option(
            f"Frames: {'; '.join(f'{name}: {each.help}' for name, each in SAMPLINGS.items())}. By default the"
            " backbone's own (center for tvts); where clips are trained on, the recipe's,"
            f" {' or '.join(name for name, each in SAMPLINGS.items() if each.for_training)}, which training varies."
        ),
    ] = None
    views: Annotated[str | None, Option("Temporal x spatial views a video, averaged: 1x1, 2x3, ...")] = None
    fields: Annotated[
        dict[str, Any],
        FromFields(
            ClipSpec,
            ("num_frames", "stride", "short_side", "crop", "resize", "interpolation", "mean", "std"),
            PROTOCOL,
        ),
    ] = dataclasses.field(default_factory=dict)

    @property
    def changes(self) -> dict[str, Any]:
        """What `changed_clip` takes."""
        return {"sampling": self.sampling, "views": self.views, **self.fields}

    @property
    def pixels(self) -> dict[str, Any]:
        """What is left to change where a recipe chooses frames and views: how many frames, and their pixels."""
        return {name: value for name, value in self.fields.items() if name != "stride"}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how fast to run."""

    panel: ClassVar[str] = MACHINE

    dtype: Annotated[str, Option("fp32, bf16, or auto: bf16 where the processor has it. Part of the record.")] = "auto"
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


@dataclass(frozen=True, kw_only=True)
class Reader(Machine):
    """A machine, and how it reads videos."""

    decoder: Annotated[str, Option("decord (guarded, see README) or pyav. Part of the record."), PROTOCOL] = "decord"
    strict: Annotated[bool, field_options(Runtime)["strict"].option, DATA] = False


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where results go."""

    panel: ClassVar[str] = OUTPUT

    out: Annotated[Path, Option("Folder that results go to.")] = Path("results")
    as_json: AsJson = False


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with every parameter that stands for several options replaced by these, in its place, and --debug."""
    hints = {**get_type_hints(command, include_extras=True), "debug": Debug}
    hints.pop("return", None)
    parameters = inspect.signature(command).parameters
    options = {name: list(_options(name, hint, _default(parameters, name))) for name, hint in hints.items()}

    def run(**given: Any) -> None:
        values = {name: _collect(name, hint, given) for name, hint in hints.items()}
        command(**{name: value for name, value in values.items() if name in parameters})

    functools.update_wrapper(run, command)
    del run.__wrapped__  # type: ignore[attr-defined]  # typer must read this signature, not the one behind it
    run.__signature__ = inspect.Signature([each for group in options.values() for each in group])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for group in options.values() for each in group}
    return run


def given(group: Any) -> Iterator[tuple[str, Any]]:
    """Option and value of everything in a group that is not as it is by default."""
    types = get_type_hints(type(group), include_extras=True)
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        if (made := _from_fields(types[field.name])) is not None:
            yield from ((field_options(made.cls)[name].flag, each) for name, each in value.items())
        elif value != field.default:
            option = field_option(field.name, types[field.name], field.default)
            assert option is not None
            yield option.flag, value


def _default(parameters: Mapping[str, inspect.Parameter], name: str) -> Any:
    return parameters[name].default if name in parameters else False  # --debug


def _from_fields(hint: Any) -> FromFields | None:
    return next((extra for extra in get_args(hint)[1:] if isinstance(extra, FromFields)), None)


def _annotated(name: str, hint: Any, default: Any) -> FieldOption | None:
    is_ours = any(isinstance(extra, Option) for extra in get_args(hint))
    return field_option(name, hint, default) if is_ours else None


def _is_group(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _options(name: str, hint: Any, default: Any, panel: str | None = None) -> Iterator[inspect.Parameter]:
    """The single options of a parameter."""
    if (made := _from_fields(hint)) is not None:
        for each in made.names:
            yield _option(field_options(made.cls)[each], made.defaults.get(each), made.panel)
    elif _is_group(hint):
        types = get_type_hints(hint, include_extras=True)
        for field in dataclasses.fields(hint):
            yield from _options(field.name, types[field.name], field.default, hint.panel)
    elif (option := _annotated(name, hint, default)) is not None:
        yield _option(option, default, next((extra for extra in get_args(hint) if isinstance(extra, str)), panel))
    else:  # typer's own
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def _option(field: FieldOption, default: Any, panel: str | None) -> inspect.Parameter:
    """The option of a field as typer reads it."""
    known = field.type in (int, float, bool, Path) or get_origin(field.type) is list
    kind = field.type if known else str
    option = typer.Option(
        field.flag,
        help=f"{field.option.help} {field.option.range.in_words_of_help}".strip(),
        metavar=field.option.form,
        rich_help_panel=panel,
        show_default=default is not None,
    )
    annotation: Any = Annotated[kind if default is not None else kind | None, option]
    return inspect.Parameter(_key(field), inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _key(field: FieldOption) -> str:
    """The name of an option's parameter."""
    return field.flag.partition("/")[0].strip("-").replace("-", "_")


def _collect(name: str, hint: Any, given: dict[str, Any]) -> Any:
    """The value of a parameter; options that belong to it are taken out of `given`.

    Raises:
        UserError: A value that the field cannot have.
    """
    if (made := _from_fields(hint)) is not None:
        fields = [field_options(made.cls)[each] for each in made.names]
        values = {field.name: (field, given.pop(_key(field))) for field in fields}
        return {key: field.read(value, field.flag) for key, (field, value) in values.items() if value is not None}
    if _is_group(hint):
        types = get_type_hints(hint, include_extras=True)
        return hint(
            **{field.name: _collect(field.name, types[field.name], given) for field in dataclasses.fields(hint)}
        )
    if (option := _annotated(name, hint, None)) is not None:
        return option.read(given.pop(_key(option)), option.flag)
    return given.pop(name)
