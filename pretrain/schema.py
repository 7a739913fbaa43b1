"""Plain values (from YAML, from `key=value`) into typed, frozen dataclasses, and back. What does not fit is refused.

Knows the types that configurations are made of: dataclasses, tuples, `X | None`, Literals, Path, str, bool, int, float.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml

from pretrain import yaml_core
from tvts_bench.errors import UserError

T = TypeVar("T")

_SHOWN = 200  # characters of a value in a message


class ConfigError(UserError):
    """A key that does not exist, or a value that does not fit its key."""


def read_yaml(text: str, source: Path | str) -> dict[str, Any]:
    """The YAML mapping in `text`.

    Raises:
        ConfigError: it is not YAML, with the file and the line, or not a mapping.
    """
    try:
        values = yaml_core.load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}{_where(error)}: not YAML ({_problem(error)})") from None
    except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise ConfigError(f"{source}: not YAML ({_problem(error)})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{source} holds no configuration: expected a YAML mapping")
    return values


def build(cls: type[T], values: Mapping[str, Any], at: str = "") -> T:
    """The dataclass `cls` with these fields; those not given keep their defaults.

    Args:
        cls: a dataclass.
        values: plain values by field, nested as the dataclass is.
        at: the key of `values` itself, for messages.

    Raises:
        ConfigError: an unknown key, or a value of another type, or one that the dataclass refuses; all with the key.
    """
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    fields = {}
    for name, value in values.items():
        if name not in names:
            raise unknown_key(_join(at, str(name)), [_join(at, known) for known in names])
        fields[name] = _convert(value, hints[name], _join(at, name))
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        optional = (field.default, field.default_factory) != (dataclasses.MISSING, dataclasses.MISSING)
        if not optional and field.name not in fields:
            raise ConfigError(f"{_join(at, field.name)} is missing; it has no default")
    try:
        return cls(**fields)
    except ConfigError:
        raise
    except (UserError, TypeError) as error:
        raise ConfigError(f"{at}: {error}" if at else str(error)) from error


def plain(value: Any) -> Any:
    """A configuration as YAML can hold it: dictionaries, lists and scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def override(values: dict[str, Any], key: str, text: str) -> None:
    """Set the dotted `key` of nested plain `values` to what `text` means in YAML; list items go by their number.

    Raises:
        ConfigError: `text` is no YAML, or `key` does not lead anywhere; `build` checks names and types.
    """
    try:
        value = yaml_core.load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        raise ConfigError(f"{key}={shown} cannot be read as a YAML value ({_problem(error)}); quote it") from None
    *path, last = key.split(".")
    node: Any = values
    for depth, name in enumerate(path):
        node = _step(node, name, ".".join(path[: depth + 1]))
    if isinstance(node, list):
        node[_number(node, last, key)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise ConfigError(f"{key}: {'.'.join(path)} has no parts, it is {node!r}")


def unknown_key(key: str, known: Sequence[str]) -> ConfigError:
    """The error for a key that is not there, with the nearest that are."""
    close = difflib.get_close_matches(key, known)
    hint = f" (did you mean {' or '.join(close)}?)" if close else ""
    return ConfigError(f"unknown key {key!r}{hint}; there are: {', '.join(known)}")


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _problem(error: Exception) -> str:
    return str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).splitlines()[0]


def _step(node: Any, name: str, so_far: str) -> Any:
    """What lies under `name`, made an empty dictionary where a dictionary has nothing there."""
    if isinstance(node, list):
        return node[_number(node, name, so_far)]
    if not isinstance(node, dict):
        raise ConfigError(f"{so_far}: there are no keys below a single value ({node!r})")
    if not isinstance(node.get(name), dict | list):
        if node.get(name) is not None:
            raise ConfigError(f"{so_far} is a single value ({node[name]!r}), there are no keys below it")
        node[name] = {}
    return node[name]


def _number(node: list[Any], name: str, key: str) -> int:
    if not (name.isdecimal() and int(name) < len(node)):
        raise ConfigError(f"{key}: {name!r} must be the number of an item, 0 to {len(node) - 1}")
    return int(name)


def _convert(value: Any, wanted: Any, key: str) -> Any:
    """`value` as the type `wanted`."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        (inner,) = (arg for arg in args if arg is not type(None))
        return _convert(value, inner, key)
    if origin is Literal:
        if value not in args or isinstance(value, bool) != isinstance(args[0], bool):
            raise ConfigError(f"{key} must be one of {', '.join(map(str, args))}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{key} must be a list, got {value!r}")
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(kinds) != len(value):
            raise ConfigError(f"{key} must be a list of {len(kinds)}, got {value!r}")
        return tuple(
            _convert(item, kind, f"{key}.{i}") for i, (item, kind) in enumerate(zip(value, kinds, strict=True))
        )
    if dataclasses.is_dataclass(wanted):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key} is a group of keys, got {value!r}; set one as {key}.NAME=VALUE")
        return build(typing.cast(type[Any], wanted), value, key)
    return _scalar(value, wanted, key)


def _scalar(value: Any, wanted: Any, key: str) -> Any:
    if wanted is Path and isinstance(value, str) and value:
        return Path(value).expanduser()
    if wanted is float and not isinstance(value, bool):
        try:
            number = float(value) if isinstance(value, int | float) else math.nan
        except OverflowError:
            number = math.nan
        if math.isfinite(number):
            return number
    if wanted is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if wanted in (int, str, bool) and type(value) is wanted:
        return value
    kinds = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text", Path: "a path"}
    raise ConfigError(f"{key} must be {kinds[wanted]}, got {value!r}")


def _join(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name
