"""Reads a pickle as data: which Python names it asks for and what it does with them. Builds and imports nothing."""

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Sequence
from typing import IO, NamedTuple

# Opcodes that act on an object and leave it, or what it made, on the stack.
_ACTING = frozenset(("REDUCE", "NEWOBJ", "BUILD", "APPEND", "APPENDS", "SETITEM", "SETITEMS"))


class GlobalName(NamedTuple):
    """What a pickle names, as written in it."""

    module: str
    name: str

    def __str__(self) -> str:
        """As `module.name`."""
        return f"{self.module}.{self.name}"

    @property
    def today(self) -> str:
        """`module.name` as Python 3 calls it: pickles of protocol 2 and below use the names of Python 2."""
        if (self.module, self.name) in NAME_MAPPING:
            return ".".join(NAME_MAPPING[self.module, self.name])
        return f"{IMPORT_MAPPING.get(self.module, self.module)}.{self.name}"


MAX_TENSORS = 100_000
"""No network has more, and a file of a few megabytes can name any number of empty ones."""


class TooManyTensorsError(ValueError):
    """A pickle of more than `MAX_TENSORS` tensors."""


Names = dict[GlobalName, set[str]]  # each with the opcodes that act on it


def named_globals(file: IO[bytes]) -> Names:
    """What the next pickle in `file` names, each with the opcodes that then act on it or on what it made.

    Follows the pickle's stack without building anything; the file is left after the pickle's end.

    Raises:
        TooManyTensorsError: it names more tensors than any network has.
    """
    tensors = 0
    uses: Names = {}
    stack: list[object] = []
    memo: dict[object, object] = {}
    for opcode, arg, _ in pickletools.genops(file):
        if opcode.name == "BINPERSID":  # by which torch writes a tensor's storage
            tensors += 1
            if tensors > MAX_TENSORS:
                raise TooManyTensorsError
        if opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
            popped = _pop(stack, opcode)
            module, name = str(arg).split(" ", 1) if opcode.name != "STACK_GLOBAL" else map(str, popped)
            stack.append(GlobalName(module, name))
            uses.setdefault(GlobalName(module, name), set())
        elif opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if arg is None else arg] = stack[-1]
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[arg])
        elif opcode.name == "DUP":
            stack.append(stack[-1])
        else:
            popped = _pop(stack, opcode)
            result: object = arg
            if opcode.name in _ACTING and isinstance(popped[0], GlobalName):
                result = popped[0]  # what is called, filled or given a state leaves itself or its instance
                uses[popped[0]].add(opcode.name)
            stack.extend([pickletools.markobject if opcode.name == "MARK" else result] * len(opcode.stack_after))
    return uses


def _pop(stack: list[object], opcode: pickletools.OpcodeInfo) -> Sequence[object]:
    """Take what `opcode` consumes from the stack, lowest first; a mark takes all above it."""
    before = opcode.stack_before
    count = len(before)
    if pickletools.markobject in before:
        mark = next(i for i in reversed(range(len(stack))) if stack[i] is pickletools.markobject)
        count = len(stack) - mark + before.index(pickletools.markobject)
    if count > len(stack):
        raise ValueError(f"the pickle's {opcode.name} finds nothing to act on")
    popped = stack[len(stack) - count :]
    del stack[len(stack) - count :]
    return popped
