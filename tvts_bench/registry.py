"""Plug-ins by name: a module in a plug-in package, listed in that package's `PLUGINS`.

A new backbone, data set, evaluator or table is one new file and one line in `PLUGINS`; the module's name is its name
on the command line, where `-` and `_` mean the same.
"""

import difflib
from importlib import import_module
from types import ModuleType

from tvts_bench.errors import UserError


class UnknownNameError(UserError):
    """No plug-in of that name; the message lists the close ones and all."""


def names(package: str) -> tuple[str, ...]:
    """Names of the plug-ins that `tvts_bench.<package>` lists, in its order."""
    return tuple(import_module(f"tvts_bench.{package}").PLUGINS)


def load(package: str, name: str) -> ModuleType:
    """Import the plug-in `name` of `tvts_bench.<package>`.

    Raises:
        UnknownNameError: there is no such plug-in.
    """
    known = names(package)
    module_name = name.replace("-", "_")
    if module_name not in known:
        close = difflib.get_close_matches(module_name, known)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise UnknownNameError(f"unknown {package.rstrip('s')} {name!r}{hint}; there are: {', '.join(known)}")
    return import_module(f"tvts_bench.{package}.{module_name}")
