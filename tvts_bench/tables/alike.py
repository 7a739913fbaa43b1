"""Which results of one number were measured alike: only those belong to one mean, and to one test between rows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tvts_bench.provenance import digest
from tvts_bench.tables.stored import Stored


def way_of(stored: Stored) -> str:
    """A digest of how and on what a result was measured, whatever the backbone and the seeds."""
    run = stored.result.run
    return digest({"evaluator": _unseeded(run.evaluator), "dataset": run.dataset, "decoder": run.decoder})


def commonest(ways: Iterable[str]) -> str | None:
    """The way in which most results were measured, the first by name of several; None where there are no results."""
    counts = Counter(ways)
    return min(counts, key=lambda way: (-counts[way], way)) if counts else None


def _unseeded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _unseeded(item) for key, item in value.items() if key not in ("seed", "seeds")}
    return [_unseeded(item) for item in value] if isinstance(value, list) else value
