"""What a checkpoint shows of its network without a value being read: the names and shapes of its tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from tvts_bench.models.checkpoint import Checkpoint, without_prefixes


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Names and shapes of a file's tensors, and the key of the file that held them."""

    container: str | None  # "state_dict", "model", "teacher", ...; None where the tensors lay bare
    shapes: Mapping[str, tuple[int, ...]]  # by name, without `module.` and `_orig_mod.`
    config: Mapping[str, Any] | None = None  # config.json of a folder, which names the architecture

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """The layout of a file that was read."""
        tensors = without_prefixes(checkpoint.tensors)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        return cls(container=checkpoint.container, shapes=shapes, config=checkpoint.config)

    def has(self, *names: str) -> bool:
        """Whether there is a tensor of each of these names."""
        return all(name in self.shapes for name in names)

    def starts(self, *prefixes: str) -> bool:
        """Whether any tensor's name starts with any of these."""
        return any(name.startswith(prefixes) for name in self.shapes)

    def under(self, prefix: str) -> Self:
        """The tensors whose names start with `prefix`, under the rest of their names."""
        shapes = {name.removeprefix(prefix): shape for name, shape in self.shapes.items() if name.startswith(prefix)}
        return replace(self, shapes=shapes)
