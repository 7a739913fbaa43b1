"""A file's tensors by a network's names."""

import re
from collections.abc import Callable, Mapping

from torch import Tensor


def renamed(tensors: Mapping[str, Tensor], rename: Callable[[str], str]) -> dict[str, Tensor]:
    """`tensors` by the names that `rename` gives them.

    Of two that would be called the same the second gets a name that no network has, so that strict loading refuses it:
    else one would be lost without a word.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        new = rename(name)
        result[f"{name} (another {new})" if new in result else new] = tensor
    return result


def replaced(name: str, parts: tuple[tuple[str, str], ...]) -> str:
    """`name` with each old part replaced by its new one, in that order."""
    for old, new in parts:
        name = name.replace(old, new)
    return name


def substituted(name: str, patterns: tuple[tuple[str, str], ...]) -> str:
    """`name` with what each regular expression finds substituted, in that order."""
    for pattern, new in patterns:
        name = re.sub(pattern, new, name)
    return name
