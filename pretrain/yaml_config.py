"""Presets and settings as YAML: read by the rules of its version 1.2, from strangers too, changed by key, written.

PyYAML's own rules are those of 1.1. There `010` is 8, `1:30:00` is 5400, `yes` is true and `1_000` a number, a key
given twice silently keeps the last value, and aliases of aliases grow without end. Here numbers are decimal unless they
begin with 0o or 0x, only `true` and `false` are true and false, and a key given twice is refused, as is every alias.
"""

import dataclasses
import re
from collections.abc import Hashable
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from tvts_bench.errors import UserError, did_you_mean
from tvts_bench.regular_file import read_regular

_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
_RESOLVERS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
)
"""Of the core schema: what plain text is, the whole of which must match, and the characters it may begin with."""
_UNREADABLE = (yaml.YAMLError, RecursionError, ValueError)  # the last: a number of thousands of digits
_SHOWN = 200  # characters of a value in a message
_PRESETS = resources.files("pretrain") / "configs"


def preset_names() -> list[str]:
    """Names of the presets in `pretrain/configs`."""
    return sorted(file.name.removesuffix(".yaml") for file in _PRESETS.iterdir() if file.name.endswith(".yaml"))


def preset_text(name: str) -> str:
    """The YAML of a preset, by its name or as the path of a file.

    Raises:
        UserError: there is none.
    """
    if name.endswith((".yaml", ".yml")):
        try:
            return read_regular(Path(name)).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"preset file {name} cannot be read ({error})") from None
    known, file = preset_names(), name.replace("-", "_")
    if file not in known:
        hint = did_you_mean(file, known)
        raise UserError(f"unknown preset {name!r}{hint}; there are: {', '.join(known)}, or the path of a .yaml file")
    return (_PRESETS / f"{file}.yaml").read_text(encoding="utf-8")


def description(name: str) -> str:
    """The preset's own line about itself."""
    return str(read_yaml(preset_text(name), name).get("description", ""))


def read_yaml(text: str, source: Path | str) -> dict[str, Any]:
    """The YAML mapping in `text`; `source` is for messages.

    Raises:
        UserError: it is not YAML, with the file and the line, or not a mapping.
    """
    try:
        values = load(text)
    except _UNREADABLE as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{source}{line}: not YAML ({_problem(error)})") from None
    if not isinstance(values, dict):
        raise UserError(f"{source} holds no configuration: expected a YAML mapping")
    return values


def plain(value: Any) -> Any:
    """A configuration as YAML can hold it: dictionaries, lists and scalars."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def override(values: dict[str, Any], key: str, text: str) -> None:
    """Set a key of nested plain values; `tvts_bench.typed_json.typed` checks names and types.

    Args:
        values: changed in place.
        key: dotted; items of lists go by their number.
        text: what it is set to, as YAML.

    Raises:
        UserError: `text` is no YAML, or `key` does not lead anywhere.
    """
    try:
        value = load(text)
    except _UNREADABLE as error:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        raise UserError(f"{key}={shown} cannot be read as a YAML value ({_problem(error)}); quote it") from None
    *path, last = key.split(".")
    node: Any = values
    for depth, name in enumerate(path):
        at = ".".join(path[: depth + 1])
        part = _part(node, name, at)
        if isinstance(node, dict) and node.get(name) is None:
            node[name] = {}
        node = node[part]
        if not isinstance(node, dict | list):
            raise UserError(f"{at} is a single value ({node!r}), there are no keys below it")
    node[_part(node, last, key)] = value


def load(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: it is not YAML, uses an alias, gives a key twice, or is too deep.
    """
    return yaml.load(text, CoreLoader)


def dump(value: Any) -> str:
    """Plain values as a document that `load`, and any other reader of YAML, reads back as they are."""
    text: str = yaml.dump(value, Dumper=_CoreDumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def _problem(error: Exception) -> str:
    return str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).splitlines()[0]


def _part(node: dict[str, Any] | list[Any], name: str, key: str) -> Any:
    """`name` as what `node` is indexed by."""
    if isinstance(node, dict):
        return name
    if not (name.isdecimal() and int(name) < len(node)):
        raise UserError(f"{key}: {name!r} must be the number of an item, 0 to {len(node) - 1}")
    return int(name)


class CoreLoader(yaml.SafeLoader):
    """The core schema of YAML 1.2, without aliases and without keys given twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's way; filled below

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases: a few lines of them stand for more values than memory holds."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            problem = f"the alias *{event.anchor} is not allowed, write its value out"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that is given twice."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    problem = f"the key {key!r} is given twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
                seen.add(key)
        values: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return values


class _CoreDumper(yaml.SafeDumper):
    """Quotes text that readers of either version would take for something else."""


def _int(loader: CoreLoader, node: Any) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


def _float(loader: CoreLoader, node: Any) -> float:
    return float(loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))


def _bool(loader: CoreLoader, node: Any) -> bool:
    text = loader.construct_scalar(node).lower()
    if text not in ("true", "false"):
        raise yaml.MarkedYAMLError(problem=f"{text!r} is neither true nor false", problem_mark=node.start_mark)
    return bool(text == "true")


for _name, _pattern, _first in _RESOLVERS:
    _tag, _whole = f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z")
    CoreLoader.add_implicit_resolver(_tag, _whole, _first)
    _CoreDumper.add_implicit_resolver(_tag, _whole, _first)
for _name, _construct in (("int", _int), ("float", _float), ("bool", _bool)):
    CoreLoader.add_constructor(f"tag:yaml.org,2002:{_name}", _construct)
