"""Plug-ins by name: a module in a plug-in package, listed in that package's `PLUGINS`, or one of another package.

A new backbone, data set, evaluator or table is one new file and one line in `PLUGINS`; the module's name is its name
on the command line, where `-` and `_` mean the same. An installed package adds its own by entry points of the group
`tvts_bench.backbones` (or `datasets`, ...), each a name and the module it stands for:

    [project.entry-points."tvts_bench.backbones"]
    my_net = "my_package.my_net"
"""

import functools
import sys
from importlib import import_module, metadata
from types import ModuleType

from tvts_bench.errors import UserError, did_you_mean


def names(package: str) -> tuple[str, ...]:
    """Names of the plug-ins that `tvts_bench.<package>` lists, in its order, then those of other packages."""
    own = _own(package)
    return (*own, *(name for name in _foreign(package) if name not in own))


def is_own(package: str, name: str) -> bool:
    """Whether the plug-in is one of this package, and not of another that was installed."""
    return name in _own(package)


def clashes(package: str) -> tuple[str, ...]:
    """What is wrong with the names that other packages give their plug-ins, a sentence each."""
    own, clashing = _own(package), []
    for name, points in _foreign(package).items():
        if name in own:
            clashing.append(f"{_packages(points)}: {package.rstrip('s')} {name!r} is not used, tvts-bench has its own")
        elif len(points) > 1:
            clashing.append(f"{package.rstrip('s')} {name!r} is not used: {_packages(points)} all provide it")
    return tuple(clashing)


def load(package: str, name: str) -> ModuleType:
    """Import the plug-in `name` of `tvts_bench.<package>`.

    Raises:
        UserError: there is no such plug-in, or it belongs to another package and cannot be imported, or several
            packages provide it.
    """
    known, module_name = names(package), name.replace("-", "_")
    if module_name not in known:
        hint = did_you_mean(module_name, known)
        raise UserError(f"unknown {package.rstrip('s')} {name!r}{hint}; there are: {', '.join(known)}")
    if module_name in _own(package):
        return import_module(f"tvts_bench.{package}.{module_name}")
    points = _foreign(package)[module_name]
    if len(points) > 1:
        raise UserError(f"{package.rstrip('s')} {name!r} is provided by {_packages(points)}: uninstall all but one")
    try:
        return points[0].load()  # type: ignore[no-any-return]
    except (Exception, SystemExit) as error:  # a script that ends when it is imported must not end this program
        raise UserError(
            f"{package.rstrip('s')} {name!r} of {_packages(points)} cannot be imported from {points[0].value}"
            f" ({type(error).__name__}: {error}): update or uninstall that package"
        ) from error


def _own(package: str) -> tuple[str, ...]:
    return tuple(import_module(f"tvts_bench.{package}").PLUGINS)


def _foreign(package: str) -> dict[str, list[metadata.EntryPoint]]:
    """Entry points of other packages by name, sorted; one that is found twice on the path counts once."""
    return _scanned(package, tuple(sys.path))


@functools.cache
def _scanned(package: str, path: tuple[str, ...]) -> dict[str, list[metadata.EntryPoint]]:
    """`_foreign` while `sys.path` is `path`: each look through all that is installed takes 20 ms."""
    foreign: dict[str, list[metadata.EntryPoint]] = {}
    for point in sorted(metadata.entry_points(group=f"tvts_bench.{package}"), key=lambda point: point.name):
        points = foreign.setdefault(point.name.replace("-", "_"), [])
        if all((_package(point), point.value) != (_package(other), other.value) for other in points):
            points.append(point)
    return foreign


def _package(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unnamed package"


def _packages(points: list[metadata.EntryPoint]) -> str:
    return " and ".join(sorted(f"the package {_package(point)}" for point in points))
