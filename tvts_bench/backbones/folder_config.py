"""What a folder's config.json says of a network that a family builds itself, from the names and shapes of its tensors.

Shapes leave open how many heads there are and, where positions are computed, which clips the network is for.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tvts_bench.backbones.preprocessor_config import described_clip_spec
from tvts_bench.models.checkpoint import FOLDER_CONFIG, Checkpoint, CheckpointMismatchError
from tvts_bench.models.foreign_config import refuse_sizes
from tvts_bench.models.transformers_library import INPUT_FILES
from tvts_bench.provenance import digest
from tvts_bench.video.spec import ClipSpec

logger = logging.getLogger(__name__)

VERSION = 1  # raised when networks that a config.json describes are built otherwise


class FolderConfig:
    """The part of a config.json that describes the network."""

    def __init__(self, checkpoint: Checkpoint, described: Mapping[str, Any]) -> None:
        """Refuses sizes that no network has.

        Args:
            checkpoint: of the folder.
            described: its config, or the part of it that describes the encoder.

        Raises:
            CheckpointError: with the key and its value.
        """
        self.folder = checkpoint.path.parent
        self.path = self.folder / FOLDER_CONFIG
        self._values = described
        refuse_sizes(described, self.path)

    def get(self, keys: Sequence[str], default: Any) -> Any:
        """The value of the first of `keys` that is there, of the type of `default`; else `default`.

        Raises:
            CheckpointMismatchError: a value of another type.
        """
        for key in keys:
            value = self._values.get(key)
            if isinstance(value, list) and len(set(map(str, value))) == 1:
                value = value[0]  # height and width of a square
            if value is None:
                continue
            number = isinstance(default, float) and isinstance(value, int | float)
            if not (number or isinstance(value, type(default))) or isinstance(value, bool) != isinstance(default, bool):
                expected = {int: "a whole number", float: "a number", str: "a name"}.get(type(default), "true or false")
                raise CheckpointMismatchError(f"{self.path} has {key} = {value!r}, expected {expected}")
            return value
        return default

    def require(self, keys: Sequence[str], value: Any, why: str = "as the tensors beside it have it") -> None:
        """Nothing where none of `keys` is there, or the first that is has this value.

        Raises:
            CheckpointMismatchError: it has another.
        """
        if (stated := self.get(keys, value)) != value:
            key = next(key for key in keys if self._values.get(key) is not None)
            raise CheckpointMismatchError(f"{self.path} has {key} = {stated!r}, expected {value!r}, {why}")

    def clip_spec(self, own: ClipSpec) -> ClipSpec:
        """`own`, the clips of the network, with pixels as the folder's processor makes them.

        Raises:
            BackboneError: the processor's description cannot be read, or describes what cannot be done here.
        """
        if not any((self.folder / name).is_file() for name in INPUT_FILES):
            return own
        spec = described_clip_spec(self.folder, image_size=own.crop, num_frames=own.num_frames)
        if spec.crop != own.crop:
            logger.warning(
                "%s makes frames of %d pixels for a network of %d, which are taken", self.folder, spec.crop, own.crop
            )
            spec = replace(spec, crop=own.crop, short_side=max(own.short_side, own.crop))
        return replace(spec, sampling=own.sampling, position=own.position, stride=own.stride)


def built_as_described(checkpoint: Checkpoint, stated: object, assumed: object) -> Checkpoint:
    """`checkpoint`, with an identity of its own where its config.json makes another network of the same tensors.

    Args:
        checkpoint: of a folder.
        stated: the network that its config.json describes.
        assumed: the network that its tensors alone would be taken for.
    """
    if stated == assumed:
        return checkpoint
    sha256 = digest({"weights": checkpoint.sha256, "network": repr(stated), "version": VERSION})
    return replace(checkpoint, sha256=sha256, files=checkpoint.files or {checkpoint.path.name: checkpoint.sha256})
