"""Plain values, from JSON, YAML or `key=value`, into typed dataclasses; what does not fit is refused by its key.

Knows the types that records and configurations are made of: dataclasses, TypedDicts, tuples, mappings by name,
`X | None`, Literals, Path, str, bool, int, float, and Any for plain values. What passes can be shown, added up and
digested: numbers are finite, whole ones have at most 64 bits, and nothing is nested beyond `DEPTH`.
"""

import dataclasses
import functools
import math
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from tvts_bench.errors import UserError, did_you_mean

T = TypeVar("T")
DEPTH = 32  # of lists and objects in each other
WHOLE = 2**64  # whole numbers are smaller
KINDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a finite number", Path: "a path"}


class MisfitError(UserError):
    """A key that does not exist or is missing, or a value that does not fit its key."""


def typed(kind: type[T], value: object, at: str = "") -> T:
    """`value`, as `json.load` gives it, as `kind`. Fields left out have their defaults.

    Args:
        kind: a dataclass, or another of the types above. A float takes whole numbers, an int floats without a fraction,
            a Path texts, in which `~` is the home folder.
        value: of any origin.
        at: its dotted key in the document, for messages; items of lists go by their number.

    Raises:
        MisfitError: a field that is missing or unknown, a value of another type, or one that a dataclass refuses.
    """
    return typing.cast(T, _typed(kind, value, at))


def _typed(kind: Any, value: Any, at: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return _plain(value, at)
    if kind in KINDS:
        return _scalar(kind, value, at)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (arg for arg in args if arg is not types.NoneType)
        return None if value is None else _typed(inner, value, at)
    if origin is Literal:
        fits = any(type(value) is type(arg) and value == arg for arg in args)
        _require(fits, at, f"one of {', '.join(map(str, args))}", value)
        return value
    if origin is tuple:
        _require(isinstance(value, list | tuple), at, "a list", value)
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        _require(len(value) == len(kinds), at, f"a list of {len(kinds)}", value)
        return tuple(_typed(kinds[number], item, _join(at, number)) for number, item in enumerate(value))
    if not isinstance(value, Mapping):
        raise MisfitError(f"{at or 'it'} is a group of keys, got {_short(value)}; one is {_join(at, 'NAME')}")
    if dataclasses.is_dataclass(kind):
        return _record(typing.cast(type, kind), value, at)
    hints = dict.fromkeys(value, args[1] if args else Any)
    if typing.is_typeddict(kind):
        _require_names(kind.__required_keys__, value, at)
        hints |= _hints(kind)  # others than those named may be there
    return {name: _typed(hints[name], item, _join(at, name)) for name, item in value.items()}


def _record(kind: type, value: Mapping[str, Any], at: str) -> Any:
    fields, missing = dataclasses.fields(kind), dataclasses.MISSING
    known = [_join(at, field.name) for field in fields]
    for name in value:
        if (key := _join(at, name)) not in known:
            raise MisfitError(f"unknown key {_short(key)}{did_you_mean(key, known)}; there are: {', '.join(known)}")
    _require_names((each.name for each in fields if each.default is each.default_factory is missing), value, at)
    made = {name: _typed(_hints(kind)[name], item, _join(at, name)) for name, item in value.items()}
    try:
        return kind(**made)
    except (UserError, TypeError) as error:
        raise MisfitError(f"{at}: {error}" if at else str(error)) from error


def _scalar(kind: type, value: Any, at: str) -> Any:
    if kind is Path and isinstance(value, str) and value:
        return Path(value).expanduser()
    if kind in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        is_whole = isinstance(value, int) or (kind is int and value.is_integer())
        if is_whole and abs(value) >= WHOLE:
            _require(False, at, f"{KINDS[kind]} of at most 64 bits", value)
        if is_whole or (kind is float and math.isfinite(value)):
            return kind(value)
    _require(kind is not float and type(value) is kind, at, KINDS[kind], value)
    return value


def _plain(value: Any, at: str, depth: int = 0) -> Any:
    _require(depth <= DEPTH, at, f"nested at most {DEPTH} deep", "more")
    if isinstance(value, Mapping):
        return {name: _plain(item, _join(at, name), depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, _join(at, number), depth + 1) for number, item in enumerate(value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _scalar(type(value), value, at)
    _require(value is None or isinstance(value, str | bool), at, "plain JSON", value)
    return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _require_names(names: Iterable[str], value: Mapping[str, Any], at: str) -> None:
    for name in names:
        if name not in value:
            raise MisfitError(f"{_join(at, name)} is missing; it has no default")


def _require(fits: bool, at: str, wanted: str, value: object) -> None:
    if not fits:
        raise MisfitError(f"{at or 'it'} must be {wanted}, got {_short(value)}")


def _short(value: object) -> str:
    """A value of any size and depth in a few words."""
    text = reprlib.repr(value) if not isinstance(value, str) else repr(value[:80])
    return text if len(text) <= 60 else f"{text[:57]}..."


def _join(at: str, name: object) -> str:
    return f"{at}.{name}" if at else str(name)
