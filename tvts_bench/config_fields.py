"""What a field of a configuration means and may be, once: help, option and range stand in its annotation.

    epochs: Annotated[int, Option("Passes over the training clips.", above=0, most=MAX_EPOCHS)] = 50

`check_fields` refuses what is out of range where the dataclass is made; the command line makes options and their
help of the same annotations, and `tvts-pretrain` its keys. Annotations enter no digest.
"""

import math
import types
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from tvts_bench.errors import UserError

LARGEST_SHOWN = 100
"""Upper limits beyond this are no part of what a field means: nobody trains so much."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """The numbers that a field may have, all of them finite. Where it is a tuple, each of its items."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def __contains__(self, number: float) -> bool:
        """Whether a field may have that number."""
        return (
            abs(number) < math.inf
            and (self.least is None or number >= self.least)
            and (self.above is None or number > self.above)
            and (self.most is None or number <= self.most)
            and (self.below is None or number < self.below)
        )

    def __str__(self) -> str:
        """In words, to go on after "must be": "positive", "in (0, 1]", "at most 1,000"; nothing without limits."""
        low, high = self._low, self._high
        if low is None or high is None:
            return self._from or self._to
        if high > LARGEST_SHOWN:
            return f"{self._from} and {self._to}"
        return f"in {'[' if self.above is None else '('}{low:,}, {high:,}{']' if self.below is None else ')'}"

    @property
    def in_words_of_help(self) -> str:
        """The limits that are no matter of course, as a sentence."""
        words = self._from if (self._high or 0) > LARGEST_SHOWN else str(self)
        if words == "positive":
            return ""
        return f"{words[:1].upper()}{words[1:]}." if words else ""

    def violated_by(self, number: float) -> str:
        """What of it a number violates, in the same words. Limits of memory and time stand for themselves."""
        if abs(number) == math.inf or self == Range():
            return "finite"
        if self._low is None or self._high is None or self._high <= LARGEST_SHOWN:
            return str(self)
        return self._to if number > self._high else self._from

    @property
    def _low(self) -> float | None:
        return self.least if self.above is None else self.above

    @property
    def _high(self) -> float | None:
        return self.most if self.below is None else self.below

    @property
    def _from(self) -> str:
        if self.above is not None:
            return f"above {self.above:,}" if self.above else "positive"
        return "" if self.least is None else f"at least {self.least:,}"

    @property
    def _to(self) -> str:
        if self.below is not None:
            return f"below {self.below:,}"
        return "" if self.most is None else f"at most {self.most:,}"


class Option:
    """The annotation of a field."""

    def __init__(
        self,
        help: str,
        *,
        flag: str | None = None,
        form: str | None = None,
        parse: Callable[[str, str], Any] | None = None,
        **limits: float,
    ) -> None:
        """What it means, and what it may be.

        Args:
            help: A sentence or two, with the unit, as `--help` shows it.
            flag: The option on the command line, where it is not made of the field's name.
            form: What an option's text looks like, such as NAME=DIR; where its type does not say it.
            parse: What makes the value of an option's text, given the option; where the field's type does not.
            limits: `least`, `above`, `most`, `below` of a `Range`.
        """
        self.help, self.flag, self.form, self.parse, self.range = help, flag, form, parse, Range(**limits)


@dataclass(frozen=True, kw_only=True)
class FieldOption:
    """A field with an annotation: its type without it and without None."""

    name: str
    type: Any
    optional: bool
    default: Any
    option: Option

    @property
    def choices(self) -> tuple[Any, ...]:
        """The values that it may have, if they are listed."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def flag(self) -> str:
        """Its option on the command line."""
        return self.option.flag or "--" + self.name.replace("_", "-")

    @property
    def explanation(self) -> str:
        """What the field means and may be, in sentences."""
        choices = f"One of {', '.join(map(str, self.choices))}." if self.choices else ""
        return " ".join(text for text in (self.option.help, self.option.range.in_words_of_help, choices) if text)

    def read(self, value: Any, name: str | None = None) -> Any:
        """The field's value from that of its option on the command line, refused under `name` as by `check`.

        Raises:
            UserError: It cannot be read, or the field cannot have it.
        """
        if self.option.parse is not None:
            value = self.option.parse(value, self.flag)
        self.check(value, name)
        return value

    def check(self, value: Any, name: str | None = None) -> None:
        """Refuse a value that the field cannot have; None is left to the dataclass.

        Raises:
            UserError: With the `name` (the field's own if None) and the value.
        """
        name = name or self.name
        if value is None:
            return
        if self.choices:
            if value not in self.choices:
                raise UserError(f"{name} must be one of {', '.join(map(str, self.choices))}, got {value!r}")
            return
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and number not in self.option.range:
                limits = self.option.range.violated_by(number)
                rest = " or left out" if self.optional and not limits.startswith(("at most", "finite")) else ""
                shown = f"{value:,}" if isinstance(value, int) and abs(value) > 9999 else value
                raise UserError(f"{name} must be {limits}{rest}, got {shown}")


@cache
def field_options(cls: Hashable) -> Mapping[str, FieldOption]:
    """The annotated fields of a dataclass, by name; those of a Literal type have no need of an annotation."""
    assert isinstance(cls, type)
    hints = get_type_hints(cls, include_extras=True)
    made = (field_option(field.name, hints[field.name], field.default) for field in fields(cls))
    return MappingProxyType({each.name: each for each in made if each is not None})


def field_option(name: str, hint: Any, default: Any) -> FieldOption | None:
    """A field, or a parameter, with what its annotation says of it; None without one.

    Args:
        name: The field's.
        hint: Its whole annotation.
        default: Its default.
    """
    option = None
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        option = next((each for each in extras if isinstance(each, Option)), None)
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    inner = next(part for part in parts if part is not type(None))
    if option is None and get_origin(inner) is Literal:
        option = Option("")
    if option is None:
        return None
    return FieldOption(name=name, type=inner, optional=type(None) in parts, default=default, option=option)


def check_fields(config: Any) -> None:
    """Refuse a configuration with a field out of its range; call it first in `__post_init__`.

    Raises:
        UserError: With the field's name and its value.
    """
    cls: type = type(config)
    for name, field in field_options(cls).items():
        field.check(getattr(config, name))


def nested_options(config: Any, at: str = "") -> Iterator[tuple[str, FieldOption, Any]]:
    """Dotted key, field and value of everything annotated in a configuration and in those inside it."""
    cls: type = type(config)
    known = field_options(cls)
    for field in fields(config):
        value, key = getattr(config, field.name), f"{at}{field.name}"
        if field.name in known:
            yield key, known[field.name], value
        items = enumerate(value) if isinstance(value, tuple) else ((None, value),)
        for number, item in items:
            if is_dataclass(item):
                yield from nested_options(item, f"{key}." if number is None else f"{key}.{number}.")


def check_nested(config: Any) -> None:
    """Refuse a configuration with a field out of its range, in it or in the configurations inside it.

    Raises:
        UserError: With the dotted key and its value.
    """
    for key, field, value in nested_options(config):
        field.check(value, key)
