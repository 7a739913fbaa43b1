"""YAML as its version 1.2 reads it, from strangers too: PyYAML's own rules are those of 1.1.

There `010` is 8, `1:30:00` is 5400, `yes` is true and `1_000` a number, a key given twice silently keeps the last
value, and aliases of aliases grow without end. Here numbers are decimal unless they begin with 0o or 0x, only `true`
and `false` are true and false, and a key given twice is refused, as is every alias.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
_RESOLVERS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
)
"""Of the core schema: what plain text is, the whole of which must match, and the characters it may begin with."""


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


class CoreLoader(yaml.SafeLoader):
    """The core schema of YAML 1.2, without aliases and without keys given twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's way; filled below

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases: a few lines of them stand for more values than memory holds."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(
                problem=f"the alias *{event.anchor} is not allowed, write its value out", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """Refuse a key that is given twice."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark
                    )
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
