"""From the options of `tvts-bench probe` to its protocol. Imported inside the command: it brings torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tvts_bench.backbones.base import Backbone
from tvts_bench.cli.recipes import RecipeChanges
from tvts_bench.cli.setup import ClipChanges
from tvts_bench.datasets.base import Dataset
from tvts_bench.devices import resolve_dtype
from tvts_bench.errors import UserError
from tvts_bench.evaluators.base import Evaluator
from tvts_bench.evaluators.cached_probe import DEFAULT as CACHED
from tvts_bench.evaluators.probe_heads import Heads
from tvts_bench.probes.low_label import LowLabel
from tvts_bench.runtime import Runtime

Build = Callable[[Backbone, Dataset, Runtime], Evaluator]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options that make the protocol."""

    split: str | None
    train_split: str
    allow_shared_clips: bool
    heads: tuple[str, ...]
    fraction: float | None
    per_class: int | None
    solver: str
    augmented: int  # views of a training clip
    seeds: tuple[int, ...]
    recipe: Mapping[str, Any]  # changes of the recipe's fields; of the cached protocol only `epochs`
    preset: str | None  # the recipe of another data set
    habits: tuple[str, ...]
    clip: ClipChanges
    decoder: str
    dtype: str

    def protocol(self, name: str) -> Build:
        """What makes the evaluator of that name.

        Raises:
            UserError: no such protocol, or an option that has no meaning for it.
        """
        cached_only = {
            "--head": self.heads,
            "--fraction": self.fraction,
            "--per-class": self.per_class,
            "--augmented-views": self.augmented or None,
            "--seeds": self.seeds[1:],
            "--solver": None if self.solver == "auto" else self.solver,
        }
        paper_only = {
            "--recipe": self.preset,
            "--habit": self.habits,
            "--total-batch": self.recipe["batch_size"],
            "--lr": self.recipe["base_lr"],
            "--best": self.recipe["best"],
            "--average": self.recipe["average"],
        }
        if name == "cached":
            _refuse(paper_only, "--protocol cached")
            return self.cached
        if name == "paper":
            _refuse(cached_only, "--protocol paper")
            return self.paper
        raise UserError(f"--protocol must be cached or paper, got {name!r}")

    def cached(self, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> Evaluator:
        """Heads on stored features."""
        return replace(
            CACHED,
            split=self.split,
            train_split=self.train_split,
            heads=self.heads or CACHED.heads,  # type: ignore[arg-type]  # it refuses what is no head
            settings=self._settings(CACHED.settings, runtime.device),
            low_label=self._low_label(),
            augmented=self.augmented,
            seeds=self.seeds,
            allow_shared_clips=self.allow_shared_clips,
            clip=self.clip.applied_to(backbone.clip_spec),
            decoder=self.decoder,
            dtype=resolve_dtype(self.dtype, runtime.device),
        )

    def paper(self, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> Evaluator:
        """The official recipe of the data set, with what was asked for changed."""
        from tvts_bench.evaluators.online_probe import DEFAULT

        changes = RecipeChanges(
            preset=self.preset,
            habits=self.habits,
            fields={**self.recipe, "seed": self.seeds[0], "views": self.clip.views},
            sampling=self.clip.sampling,
            stride=self.clip.stride,
            dtype=self.dtype,
        )
        return replace(
            DEFAULT,
            recipe=changes.recipe("probe", dataset.name, runtime.device),
            split=self.split,
            train_split=self.train_split,
            allow_shared_clips=self.allow_shared_clips,
            clip=self.clip.beside_a_recipe().applied_to(backbone.clip_spec),
            decoder=self.decoder,
        )

    def _settings(self, heads: Heads, device: str) -> Heads:
        solver = self.solver if self.solver != "auto" else "torch" if device.startswith("cuda") else "sklearn"
        logistic = replace(heads.logistic, solver=solver)  # type: ignore[arg-type]  # it refuses what is no solver
        epochs = self.recipe["epochs"]
        if epochs is None:
            return replace(heads, logistic=logistic)
        if self.heads and not set(self.heads) - {"knn", "logistic"}:
            raise UserError(f"--epochs has no meaning with --head {' --head '.join(self.heads)}; leave it out")
        return replace(
            heads,
            logistic=logistic,
            linear=replace(heads.linear, epochs=epochs),
            attentive=replace(heads.attentive, epochs=epochs),
        )

    def _low_label(self) -> LowLabel | None:
        if self.fraction is None and self.per_class is None:
            return None
        return LowLabel(fraction=self.fraction, per_class=self.per_class)


def _refuse(given: Mapping[str, object], where: str) -> None:
    """Refuse options that mean nothing there, rather than ignore them."""
    for name, value in given.items():
        if value not in (None, ()):
            raise UserError(f"{name} has no meaning with {where}; leave it out")
