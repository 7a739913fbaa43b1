"""The paper's numbers, as its authors published them (published/README.md names the source)."""

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Final, Literal

FAILED: Final = "failed"  # a run that did not converge, as the paper itself reports

Published = float | Literal["failed"] | None
"""A number in percent, a run that failed, or nothing where the paper has none."""


@cache
def read_published(table: str) -> tuple[Mapping[str, str], ...]:
    """The rows of a published table in the paper's order: column -> text, "" where the paper says nothing.

    Args:
        table: "table1" to "table5" or "table7".
    """
    file = resources.files("tvts_bench.tables").joinpath("published", f"{table}.csv")
    return tuple(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def published_value(text: str) -> Published:
    """A field of a published table as a value."""
    if text == FAILED:
        return FAILED
    return float(text) if text else None
