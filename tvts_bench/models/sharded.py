"""The index of weights in several safetensors files, as the Hub's libraries save large networks."""

from collections.abc import Mapping
from pathlib import Path

from tvts_bench.models.foreign_config import read_json_object
from tvts_bench.models.unpickling import CheckpointError

INDEX = "model.safetensors.index.json"


def indexed(index: Path) -> dict[str, frozenset[str]]:
    """Names of the tensors in each file beside the index.

    Raises:
        CheckpointError: it cannot be read, or is no index of files in its own folder.
    """
    places = read_json_object(index).get("weight_map")
    if not isinstance(places, Mapping) or not places or not all(map(_is_shard, places.values())):
        raise CheckpointError(f"{index} does not say which tensor is in which file beside it: fetch the folder anew")
    named: dict[str, set[str]] = {file: set() for file in sorted(set(places.values()))}
    for name, file in places.items():
        named[file].add(name)
    return {file: frozenset(names) for file, names in named.items()}


def _is_shard(name: object) -> bool:
    """Whether this is the name of a safetensors file, and no way out of the folder."""
    return isinstance(name, str) and name.endswith(".safetensors") and not {"/", "\\"} & set(name)
