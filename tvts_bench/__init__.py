"""tvts-bench: train video backbones by transcript sorting and measure any of them honestly.

The public API is loaded on first use, so that `import tvts_bench` costs nothing and needs no torch.
"""

from importlib import import_module
from typing import Any

from tvts_bench.version import VERSION

__version__ = VERSION

_PUBLIC = {
    "load_backbone": "tvts_bench.backbones.loading",
    "load_dataset": "tvts_bench.datasets.loading",
    "evaluate": "tvts_bench.evaluate",
    "Result": "tvts_bench.results",
    "Runtime": "tvts_bench.runtime",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tvts_bench' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
