"""The families of backbones that are there: those of this package, and those that other packages add."""

import logging
from typing import NamedTuple, cast

from tvts_bench import registry
from tvts_bench.backbones.base import BackboneError, BackbonePlugin
from tvts_bench.errors import UserError

logger = logging.getLogger(__name__)

MEMBERS = ("VARIANTS", "CARD", "recognises", "load")  # of every family


class Families(NamedTuple):
    """All that can be used, and why others cannot."""

    usable: dict[str, BackbonePlugin]  # by name
    problems: tuple[str, ...]  # a sentence each


def family(name: str) -> BackbonePlugin:
    """The family `name`.

    Raises:
        UnknownNameError: there is none of that name.
        PluginError: another package provides it, and it cannot be imported.
        BackboneError: a library that it needs is not installed, or it lacks what every family has.
    """
    try:
        plugin = registry.load("backbones", name)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in ("", "tvts_bench"):
            raise
        raise BackboneError(
            f"backbone {name} needs the library {library}, which is not installed: pip install {library}"
        ) from error
    missing = [member for member in MEMBERS if not hasattr(plugin, member)]
    if missing:
        raise BackboneError(
            f"backbone {name} cannot be used: {getattr(plugin, '__name__', plugin)!s} has no {', '.join(missing)}"
            " (CONTRIBUTING.md says what a family provides)"
        )
    return cast(BackbonePlugin, plugin)


def families() -> Families:
    """Every family that can be imported; one that cannot does not stand in the way of the others."""
    usable, problems = {}, list(registry.clashes("backbones"))
    for name in registry.names("backbones"):
        try:
            usable[name] = family(name)
        except UserError as error:
            if str(error) not in problems:
                problems.append(str(error))
    return Families(usable, tuple(problems))
