"""The shape of a network, read off the tensors of a file."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tvts_bench.models.checkpoint import Checkpoint, CheckpointError
from tvts_bench.models.foreign_config import MAX_LAYERS

HEAD_WIDTH = 64  # channels of an attention head, where a family does not say otherwise


class ConfigReader:
    """Reads the shape of a network off a file's tensors; what does not allow it is refused with the tensor's name."""

    def __init__(
        self, tensors: Mapping[str, Tensor], checkpoint: Checkpoint, variant: str | None = None, prefix: str = ""
    ) -> None:
        """Holds.

        Args:
            tensors: by the names to look for.
            checkpoint: the file that they are of, for messages and for what lies beside them.
            variant: the one that the user names; None: whichever the file holds.
            prefix: of the names in the file, for messages.
        """
        self.tensors, self.checkpoint, self.variant = tensors, checkpoint, variant
        self.source, self._prefix = checkpoint.path, prefix

    def inside(self, prefix: str) -> "ConfigReader":
        """Of the tensors under `prefix`, by the rest of their names; of all where no name has it."""
        inside = {name.removeprefix(prefix): each for name, each in self.tensors.items() if name.startswith(prefix)}
        return ConfigReader(inside or self.tensors, self.checkpoint, self.variant, prefix if inside else "")

    def of(self, tensors: Mapping[str, Tensor]) -> "ConfigReader":
        """Of the same file's `tensors` by other names."""
        return ConfigReader(tensors, self.checkpoint, self.variant)

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Shape of the tensor `name`.

        Raises:
            CheckpointError: it is missing, empty, or has not that many dimensions.
        """
        tensor = self.tensors.get(name)
        if tensor is None:
            raise CheckpointError(f"{self.source} has no {self._prefix}{name}, which tells the size of the network")
        if tensor.ndim != dimensions or 0 in tensor.shape:
            raise CheckpointError(
                f"{self.source}: {self._prefix}{name} is {list(tensor.shape)},"
                f" expected {dimensions} dimensions, none of them 0"
            )
        return tuple(tensor.shape)

    def width(self, norm: str) -> int:
        """D, the length of the tensor `norm`: a multiple of a head's 64 channels."""
        (width,) = self.shape(norm, 1)
        if width % HEAD_WIDTH:
            raise CheckpointError(
                f"{self.source}: {self._prefix}{norm} has {width} entries,"
                f" expected a multiple of {HEAD_WIDTH} (a head's width)"
            )
        return width

    def depth(self, prefix: str) -> int:
        """Blocks: how many different numbers follow `prefix`.

        Raises:
            CheckpointError: more than any network has, which would take minutes to build.
        """
        depth = len({name.removeprefix(prefix).split(".")[0] for name in self.tensors if name.startswith(prefix)})
        if depth > MAX_LAYERS:
            raise CheckpointError(
                f"{self.source} has {depth:,} different {self._prefix}{prefix}*,"
                f" expected blocks of a network, at most {MAX_LAYERS:,}"
            )
        return depth

    def stages(self, prefix: str = "") -> tuple[int, int, int, int]:
        """Blocks in each of a ResNet's four stages, under `prefix`.

        Raises:
            CheckpointError: a stage is missing.
        """
        first, second, third, fourth = (self.depth(f"{prefix}layer{stage}.") for stage in range(1, 5))
        start = f"{self._prefix}{prefix}"
        if not first * second * third * fourth:
            raise CheckpointError(f"{self.source} has no ResNet's four stages, {start}layer1.* to {start}layer4.*")
        return first, second, third, fourth

    def hidden(self, prefix: str, suffix: str) -> int:
        """Width inside the MLP: the length of the first tensor whose name starts and ends so."""
        first = next((name for name in self.tensors if name.startswith(prefix) and name.endswith(suffix)), None)
        return self.shape(first or f"{prefix}0{suffix}", 1)[0]

    def grid(self, name: str, dimensions: int = 3, prefix_tokens: int = 1) -> int:
        """Side of the square of patches in the table of positions `name`.

        Args:
            name: of the table.
            dimensions: it has; the last but one is that of positions.
            prefix_tokens: positions that are no patch's: [CLS] has one.
        """
        positions = self.shape(name, dimensions)[-2] - prefix_tokens
        side = math.isqrt(max(positions, 0))
        if side == 0 or side * side != positions:
            raise CheckpointError(
                f"{self.source}: {self._prefix}{name} has {positions} places for patches, not a square"
            )
        return side

    def vit(
        self,
        sizes: Mapping[str, Any],
        *,
        norm: str = "norm.weight",
        blocks: str = "blocks.",
        patches: str = "patch_embed.proj.weight",
        mlp: str = ".mlp.fc1.bias",
        positions: str | None = "pos_embed",
        dimensions: int = 3,
        prefix_tokens: int = 1,
    ) -> dict[str, Any]:
        """Fields of `NetworkConfig` that the tensors of a vision transformer with one kind of blocks tell.

        Args:
            sizes: those with a name, by which the number of heads is known where a head is not 64 wide.
            norm: name of a norm as wide as tokens are.
            blocks: prefix of the blocks.
            patches: name of the convolution that cuts patches.
            mlp: end of the name of the bias inside a block's MLP.
            positions: name of the table of positions in a frame, which tells the pixels; None: they are not read.
            dimensions: of that table.
            prefix_tokens: its positions that are no patch's.
        """
        width = self.width(norm)
        kernel = self.tensors.get(patches)
        patch = self.shape(patches, 4 if kernel is None or kernel.ndim != 5 else 5)[-1]
        known = next((size.num_heads for size in sizes.values() if size.width == width), width // HEAD_WIDTH)
        hidden, depth = self.hidden(blocks, mlp), self.depth(blocks)
        shape = {"width": width, "num_heads": known, "depth": depth, "mlp_dim": hidden, "patch_size": patch}
        return shape | ({"image_size": patch * self.grid(positions, dimensions, prefix_tokens)} if positions else {})
