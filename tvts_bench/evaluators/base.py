"""What an evaluator is: a frozen dataclass whose fields are the protocol, run over a backbone and a data set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from tvts_bench.backbones.base import Backbone
from tvts_bench.datasets.base import Dataset
from tvts_bench.features.base import Dtype
from tvts_bench.metrics.measured import Metric, SplitCoverage
from tvts_bench.runtime import Runtime
from tvts_bench.video.spec import ClipSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What an evaluator hands back: plain numbers, what they speak of, and tables for files."""

    metrics: tuple[Metric, ...]
    coverage: tuple[SplitCoverage, ...]
    decoders: Mapping[str, int]  # decoder with version -> clips it read
    computed_by: Mapping[str, int]  # device, batch size and versions -> clips embedded, now or by an earlier run
    protocol: tuple[str, ...]  # what was done, in words: the lines under a table
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # name -> column -> values
    notes: tuple[str, ...] = ()  # what a reader must know beside that


class Evaluator(Protocol):
    """A protocol. Varying it is `dataclasses.replace`."""

    name: ClassVar[str]  # the plug-in's name

    @property
    def clip(self) -> ClipSpec | None:
        """The clip it measures with; None: the backbone's own."""
        ...

    @property
    def decoder(self) -> str:
        """The decoder it reads clips with."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that a resolved protocol reads, in the order of `Outcome.coverage`."""
        ...

    def resolve(self, backbone: Backbone, dataset: Dataset) -> Self:
        """The same protocol with what was left to the backbone or the data set filled in."""
        ...

    def run(self, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> Outcome:
        """Measure `backbone` on `dataset`.

        Args:
            backbone: is not changed.
            dataset: has the splits.
            runtime: device, workers, folders: what changes no number.
        """
        ...


@runtime_checkable
class FromFeatures(Protocol):
    """An evaluator of frozen features that can say which: those of several backbones are then extracted in one pass."""

    @property
    def decoder(self) -> str:
        """The decoder it reads clips with."""
        ...

    @property
    def dtype(self) -> Dtype:
        """The precision it computes features in."""
        ...

    def prepare(self, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> tuple[tuple[str, ClipSpec], ...]:
        """Split and clip of all features that `run` will start from; it refuses what the lists show to be impossible.

        Args:
            backbone: as for `run`.
            dataset: as for `run`.
            runtime: as for `run`.

        Raises:
            UserError: what `run` would raise before it reads a video.
        """
        ...
