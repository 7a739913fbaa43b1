"""What made a number: digests of configurations, hashes of files, versions of everything that ran."""

import dataclasses
import functools
import hashlib
import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tvts_bench.regular_file import open_regular
from tvts_bench.version import VERSION

REPORTED_PACKAGES = ("torch", "torchvision", "timm", "transformers", "numpy", "av", "decord", "faiss-cpu", "faiss-gpu")
"""Packages that can change a number; those not installed are left out of the report."""


WHERE_SET: Mapping[str, bool] = MappingProxyType({"where_set": True})
"""`field(default=..., metadata=WHERE_SET)`: a setting that was added later. Where it has its default it is left out, so
that features and results from before it was there keep their names."""


def canonical(value: Any) -> Any:
    """`value` as plain JSON types. Dataclasses keep their type name, so two protocols with equal fields differ."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            field.name: canonical(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if not (field.metadata.get("where_set") and getattr(value, field.name) == field.default)
        }
        return {"type": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [canonical(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"cannot digest {value!r} of type {type(value).__name__}")


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of a dataclass, mapping, sequence or scalar: equal content, equal digest."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 (hex) of a file's bytes.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def versions() -> dict[str, str]:
    """Versions of tvts-bench, Python, the platform and every installed package that can change a number."""
    report = {"tvts-bench": VERSION, "python": platform.python_version(), "platform": platform.platform()}
    for package in REPORTED_PACKAGES:
        try:
            report[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return report
