"""Options that go together, as one parameter of a command: typer reads each of them, the command gets the group."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_type_hints

from tvts_bench.cli import options


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Which backbone, with which weights."""

    ckpt: options.Checkpoint = None
    weights: options.WeightsKey = None
    backbone: options.BackboneName = None
    init_seed: options.InitSeed = 0


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What of a backbone's own clip is changed; `None` changes nothing."""

    frames: options.Frames = None
    stride: options.Stride = None
    views: options.Views = None
    short_side: options.ShortSide = None
    crop: options.Crop = None
    resize: options.Resize = None
    interpolation: options.Interpolation = None
    mean: options.Mean = None
    std: options.Std = None


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where and how fast to run."""

    device: options.Device = "auto"
    dtype: options.Dtype = "auto"
    workers: options.Workers = None
    batch_size: options.BatchSize = 16
    clip_timeout: options.ClipTimeout = 120.0
    cache: options.Cache = None


WEIGHTS, CLIP, MACHINE = Weights(), Clip(), Machine()
"""What the commands have by default."""


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with every parameter that is a group replaced by the group's options, in its place."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint) and isinstance(hint, type)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        types = get_type_hints(groups[name], include_extras=True)
        for field in dataclasses.fields(groups[name]):
            option = inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default)
            parameters.append(option.replace(annotation=types[field.name]))

    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in dataclasses.fields(group)})
        command(**given)

    functools.update_wrapper(run, command)
    del run.__wrapped__  # type: ignore[attr-defined]  # typer must read this signature, not the one behind it
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
