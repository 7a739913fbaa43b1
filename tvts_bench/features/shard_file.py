"""A shard's file: safetensors whose metadata holds a description as JSON, and a checksum of both."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save


class ShardFileError(Exception):
    """A file that is not a whole shard, or not the one it is taken for."""


def pack(description: Mapping[str, Any], values: NDArray[np.float32]) -> bytes:
    """The content of the file of a shard."""
    text = json.dumps(description)
    return save({"values": values}, metadata={"shard": text, "sha256": _checksum(text, values)})


def unpack(path: Path) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """Description and values of the shard in a file.

    Raises:
        ShardFileError: a byte of it is not as it was written.
        OSError: it cannot be read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata, values = file.metadata(), file.get_tensor("values")
        description = json.loads(metadata["shard"])
        checksum = metadata["sha256"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ShardFileError(str(error)) from error
    if checksum != _checksum(metadata["shard"], values):
        raise ShardFileError("its checksum does not match")
    return description, values


def _checksum(text: str, values: NDArray[np.float32]) -> str:
    state = hashlib.sha256(text.encode())
    state.update(values.tobytes())
    return state.hexdigest()
