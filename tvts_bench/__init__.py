"""tvts-bench: train video backbones by transcript sorting and measure any of them honestly.

The public API is loaded on first use, so that `import tvts_bench` costs nothing and needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tvts_bench.version import VERSION

if TYPE_CHECKING:  # so that checkers and editors see the types of what is loaded on first use
    from tvts_bench.backbones.custom import as_backbone
    from tvts_bench.backbones.loading import load_backbone
    from tvts_bench.datasets.loading import load_dataset
    from tvts_bench.evaluation import evaluate, evaluate_all, extract_features
    from tvts_bench.results import Result
    from tvts_bench.results.collection import Results, load_result, load_results
    from tvts_bench.results.compare import compare
    from tvts_bench.runtime import Runtime
    from tvts_bench.video.spec import ClipSpec

__version__ = VERSION

_PUBLIC = {
    "as_backbone": "tvts_bench.backbones.custom",
    "load_backbone": "tvts_bench.backbones.loading",
    "load_dataset": "tvts_bench.datasets.loading",
    "evaluate": "tvts_bench.evaluation",
    "evaluate_all": "tvts_bench.evaluation",
    "extract_features": "tvts_bench.evaluation",
    "Result": "tvts_bench.results",
    "Results": "tvts_bench.results.collection",
    "compare": "tvts_bench.results.compare",
    "load_result": "tvts_bench.results.collection",
    "load_results": "tvts_bench.results.collection",
    "Runtime": "tvts_bench.runtime",
    "ClipSpec": "tvts_bench.video.spec",
}

__all__ = [
    "ClipSpec",
    "Result",
    "Results",
    "Runtime",
    "__version__",
    "as_backbone",
    "compare",
    "evaluate",
    "evaluate_all",
    "extract_features",
    "load_backbone",
    "load_dataset",
    "load_result",
    "load_results",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tvts_bench' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
