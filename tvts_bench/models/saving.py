"""Our own weight files: safetensors with the network's shape beside the tensors, written whole or not at all."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch

from tvts_bench.atomic import whole_file
from tvts_bench.models.checkpoint import OWN_METADATA, Checkpoint, CheckpointError
from tvts_bench.models.video_network import VideoNetworkError
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig

METADATA = "__metadata__"  # of a safetensors header


def save_backbone(path: Path, model: VideoTransformer, metadata: Mapping[str, str] | None = None) -> None:
    """Write `model` as a file that `load_backbone` knows: tensors by their official names, and the shape as JSON.

    An existing file is replaced only when the new one is complete on disk.

    Args:
        path: the file; its folder must exist.
        model: any size; its training settings (drop path) are saved, too.
        metadata: more to keep with the weights (the digest of a run, say): short strings by name.

    Raises:
        CheckpointError: the file cannot be written, with the system's reason.
    """
    from safetensors.torch import save

    architecture = json.dumps(dataclasses.asdict(model.config), sort_keys=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    content = _in_order(save(tensors, metadata={**(metadata or {}), OWN_METADATA: architecture}))
    try:
        with whole_file(path) as file:
            file.write(content)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}") from error


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted by name: the library writes them in another order each time.

    The header is JSON behind its length in 8 bytes, filled up with spaces to a multiple of 8 bytes (safetensors 0.4).
    """
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header[METADATA] = dict(sorted(header[METADATA].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def save_pickled(path: Path, content: Mapping[str, Any]) -> None:
    """`torch.save` to a file that is there whole or not at all.

    Raises:
        OSError: it cannot be written; torch alone makes of a full disk a RuntimeError about positions in an archive.
    """
    with whole_file(path) as file:
        writer = _Writer(file)
        try:
            torch.save(content, cast(IO[bytes], writer))
        except RuntimeError as error:
            if writer.refused is None:
                raise
            raise writer.refused from error


class _Writer:
    """A file that remembers why it could not be written to."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.refused: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.refused = error
            raise

    def flush(self) -> None:
        self._file.flush()


def saved_config(checkpoint: Checkpoint) -> VideoTransformerConfig | None:
    """The shape that `save_backbone` wrote beside the tensors; None for a file from elsewhere.

    Raises:
        CheckpointError: the entry is there but is not such a shape (a newer version's, say).
    """
    text = checkpoint.metadata.get(OWN_METADATA)
    if text is None:
        return None
    try:
        return VideoTransformerConfig(**json.loads(text))
    except (TypeError, ValueError) as error:
        problem = error if isinstance(error, VideoNetworkError) else type(error).__name__
        raise CheckpointError(
            f"{checkpoint.path} describes its network as {text!r}, not as known here ({problem})"
        ) from error
