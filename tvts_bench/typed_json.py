"""JSON into typed, frozen dataclasses; whatever does not fit is refused with its place.

Knows the types that records on disk are made of: dataclasses, TypedDicts, tuples of one type, mappings by name,
`X | None`, Literals, str, bool, int, float, and Any for plain values. What passes can be shown, added up and digested:
numbers are finite, whole ones have at most 64 bits, and nothing is nested beyond `DEPTH`.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

T = TypeVar("T")
DEPTH = 32  # of lists and objects in each other
KINDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a finite number"}


class MisfitError(ValueError):
    """A value of another type than its place has."""


def typed(kind: type[T], value: object, at: str = "") -> T:
    """`value`, as `json.load` gives it, as `kind`. Fields left out have their defaults.

    Args:
        kind: a dataclass, or another of the types above.
        value: of any origin.
        at: its path in the document, for messages.

    Raises:
        MisfitError: a field that is missing or unknown, or a value of another type.
    """
    return typing.cast(T, _typed(kind, value, at))


def _typed(kind: Any, value: Any, at: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return _plain(value, at)
    if origin in (types.UnionType, typing.Union):
        (inner,) = (arg for arg in args if arg is not types.NoneType)
        return None if value is None else _typed(inner, value, at)
    if origin is Literal:
        _require(isinstance(value, str) and value in args, at, f"one of {', '.join(map(str, args))}", value)
        return value
    if origin is tuple:
        _require(isinstance(value, list | tuple), at, "a list", value)
        return tuple(_typed(args[0], item, f"{at}[{number}]") for number, item in enumerate(value))
    if kind in KINDS:
        return _scalar(kind, value, at)
    _require(isinstance(value, Mapping), at, "an object", value)
    if typing.is_typeddict(kind):
        hints = {**dict.fromkeys(value, Any), **_hints(kind)}  # others than those named may be there
        _require_names(kind.__required_keys__, value, at)
        return {name: _typed(hints[name], item, _join(at, name)) for name, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return _record(typing.cast(type, kind), value, at)
    return {name: _typed(args[1], item, _join(at, name)) for name, item in value.items()}


def _record(kind: type, value: Mapping[str, Any], at: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in value:
        if name not in fields:
            raise MisfitError(f"{_join(at, name)} is no field of it")
    missing = dataclasses.MISSING
    _require_names(
        [f.name for f in fields.values() if f.default is missing and f.default_factory is missing], value, at
    )
    return kind(**{name: _typed(_hints(kind)[name], item, _join(at, name)) for name, item in value.items()})


def _scalar(kind: type, value: Any, at: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float:
        fits = number and abs(value) < 2**64 if isinstance(value, int) else number and math.isfinite(value)
    elif kind is int:
        fits = number and isinstance(value, int) and abs(value) < 2**64
    else:
        fits = isinstance(value, kind)
    _require(fits, at, KINDS[kind], value)
    return value


def _plain(value: Any, at: str, depth: int = 0) -> Any:
    _require(depth <= DEPTH, at, f"nested at most {DEPTH} deep", "more")
    if isinstance(value, Mapping):
        return {name: _plain(item, _join(at, name), depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{at}[{number}]", depth + 1) for number, item in enumerate(value)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _scalar(float, value, at)
    _require(value is None or isinstance(value, str | bool), at, "plain JSON", value)
    return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _require_names(names: typing.Iterable[str], value: Mapping[str, Any], at: str) -> None:
    for name in names:
        if name not in value:
            raise MisfitError(f"{_join(at, name)} is missing")


def _require(fits: bool, at: str, wanted: str, value: object) -> None:
    if not fits:
        raise MisfitError(f"{at or 'it'} must be {wanted}, got {_short(value)}")


def _short(value: object) -> str:
    """A value of any size and depth in a few words."""
    if isinstance(value, str | int | float | None) and not (isinstance(value, int) and abs(value) >= 2**64):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}..."
    return f"a {type(value).__name__}"


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name
