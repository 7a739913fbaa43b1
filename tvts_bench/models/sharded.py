"""The index of weights in several safetensors files, as the Hub's libraries save large networks."""

import json
from collections.abc import Mapping
from pathlib import Path

from tvts_bench.models.unpickling import CheckpointError

INDEX = "model.safetensors.index.json"


def indexed(index: Path) -> dict[str, frozenset[str]]:
    """Names of the tensors in each file beside the index.

    Raises:
        CheckpointError: it cannot be read, or is no index of files in its own folder.
    """
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{index} cannot be read ({error}): fetch the folder anew") from error
    places = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(places, Mapping) or not places or not all(map(_is_shard, places.values())):
        raise CheckpointError(f"{index} does not say which tensor is in which file beside it: fetch the folder anew")
    return {file: frozenset(name for name in places if places[name] == file) for file in sorted(set(places.values()))}


def _is_shard(name: object) -> bool:
    """Whether this is the name of a safetensors file, and no way out of the folder."""
    return isinstance(name, str) and name.endswith(".safetensors") and not {"/", "\\"} & set(name)
