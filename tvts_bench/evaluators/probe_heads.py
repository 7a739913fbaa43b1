"""The heads of the cached probe by name: their settings, and one after the other fitted to one task."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

import numpy as np

from tvts_bench.errors import UserError
from tvts_bench.probes import attentive, linear
from tvts_bench.probes.attentive import Attentive
from tvts_bench.probes.base import Fitted, Float32Array, LabelledFeatures, Task
from tvts_bench.probes.knn import KNN, fit_knn
from tvts_bench.probes.linear import Linear
from tvts_bench.probes.logistic import Logistic, fit_logistic, num_fits
from tvts_bench.runtime import Runtime

ROWS_AT_ONCE = 16_384  # rows in float64 at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """Mean 0 and deviation 1 of every dimension over the training clips: linear, so a linear head stays one."""

    mean: Float32Array  # [D]
    deviation: Float32Array  # [D]; 1 where a dimension is constant

    @classmethod
    def of(cls, values: Float32Array) -> Self:
        """The scaling of `values` [N, D]."""
        mean = values.mean(axis=0, dtype=np.float64)
        squares = sum(
            ((values[start : start + ROWS_AT_ONCE] - mean) ** 2).sum(axis=0)
            for start in range(0, len(values), ROWS_AT_ONCE)
        )
        deviation = np.sqrt(squares / len(values))
        constant = deviation <= 1e-6 * np.abs(values).max(axis=0)  # what float32 leaves of no difference at all
        return cls(mean=mean.astype(np.float32), deviation=np.where(constant, 1, deviation).astype(np.float32))

    def __call__(self, values: Float32Array) -> Float32Array:
        """`values` [N, D] scaled."""
        scaled: Float32Array = (values - self.mean) / self.deviation
        return scaled


HeadName = Literal["knn", "logistic", "linear", "attentive"]
CONDITIONS: dict[HeadName, str] = {
    "knn": "k-NN",
    "logistic": "logistic regression",
    "linear": "linear",
    "attentive": "attentive",
}
Tasks = Mapping[Literal["features", "tokens"], Task]
"""What the heads learn: features [N, D], and where a head reads them, tokens [N, tokens, D] of the same clips."""


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Settings of every head. k-NN takes cosines of features as they are; the others, scaled ones."""

    knn: KNN = field(default_factory=KNN)
    logistic: Logistic = field(default_factory=Logistic)
    linear: Linear = field(default_factory=Linear)
    attentive: Attentive = field(default_factory=Attentive)
    scaled: bool = True  # every dimension to mean 0 and deviation 1 over the training clips; else as they are

    def changed(self, solver: str, device: str, epochs: int | None, chosen: Sequence[str] | None = None) -> Self:
        """With what a user changes of it.

        Args:
            solver: of logistic regression; "auto": the one that suits the device.
            device: that heads are fitted on.
            epochs: of every head that has some; None changes nothing.
            chosen: the heads that are named; None: no one is.

        Raises:
            UserError: no such solver, or epochs where no chosen head has any.
        """
        if solver == "auto":
            solver = "torch" if device.startswith("cuda") else "sklearn"
        logistic = replace(self.logistic, solver=solver)  # type: ignore[arg-type]  # it refuses what is no solver
        if epochs is None:
            return replace(self, logistic=logistic)
        if chosen and not set(chosen) - {"knn", "logistic"}:
            raise UserError(f"--epochs has no meaning with --head {' --head '.join(chosen)}; leave it out")
        linear, attentive = replace(self.linear, epochs=epochs), replace(self.attentive, epochs=epochs)
        return replace(self, logistic=logistic, linear=linear, attentive=attentive)

    def fit(
        self, names: Sequence[HeadName], tasks: Tasks, seed: int, runtime: Runtime
    ) -> Iterator[tuple[HeadName, Fitted]]:
        """Each head of `names`, fitted.

        Args:
            names: the heads.
            tasks: what they learn; features are not scaled yet.
            seed: of the order of clips and of first weights.
            runtime: device, and who is shown progress.
        """
        task, device = tasks["features"], runtime.device
        scaled = task
        if self.scaled:
            scale = Scaling.of(task.train.values)
            train = LabelledFeatures(values=scale(task.train.values), labels=task.train.labels)
            scaled = replace(task, train=train, test=scale(task.test))
        for name in names:
            match name:
                case "knn":
                    yield name, fit_knn(self.knn, task, device=device)
                case "logistic":
                    with runtime.progress(num_fits(self.logistic, task), "fits", "logistic regression") as advance:
                        yield name, fit_logistic(self.logistic, scaled, device=device, advance=advance)
                case "linear":
                    with runtime.progress(linear.num_steps(self.linear, task), "steps", "linear heads") as advance:
                        yield name, linear.fit_linear(self.linear, scaled, seed=seed, device=device, advance=advance)
                case "attentive":
                    tokens, head = tasks["tokens"], self.attentive
                    with runtime.progress(attentive.num_steps(head, tokens), "steps", "attentive head") as advance:
                        yield name, attentive.fit_attentive(head, tokens, seed=seed, device=device, advance=advance)

    def in_words(self, name: HeadName) -> str:
        """What is fixed of a head, for the lines under a table."""
        match name:
            case "knn":
                return f"weighted votes, temperature {self.knn.temperature:g}"
            case "logistic":
                return f"L2 penalty, solver {self.logistic.solver}{self._scale}"
            case "linear":
                head = self.linear
                return (
                    f"SGD, momentum {head.momentum:g}, {head.epochs} epochs of batch {head.batch_size}, cosine,"
                    f" best of {len(head.grid)}{self._scale}"
                )
            case "attentive":
                return (
                    f"cross-attention over patch tokens, AdamW, weight decay {self.attentive.weight_decay:g},"
                    f" {self.attentive.epochs} epochs of batch {self.attentive.batch_size}, cosine"
                )

    @property
    def _scale(self) -> str:
        return ", scaled features" if self.scaled else ", features as they are"


def chosen_in_words(heads: Heads, fitted: Mapping[HeadName, Sequence[Fitted]]) -> tuple[str, ...]:
    """One line per head: what is fixed of it, and what was chosen with each seed."""
    lines = []
    for head, per_seed in fitted.items():
        settings = (
            one.chosen.setting
            + (" (nothing held out)" if one.chosen.accuracy is None else f" (held-out {one.chosen.accuracy:.1f} %)")
            for one in per_seed
        )
        lines.append(f"{CONDITIONS[head]}: {heads.in_words(head)}; {', '.join(settings)}")
    return tuple(lines)


def choices_table(fitted: Mapping[HeadName, Sequence[Fitted]], seeds: Sequence[int]) -> dict[str, list[object]]:
    """One row per setting that was tried: its top-1 on the held-out part, percent, and whether it was chosen."""
    rows = [
        (CONDITIONS[head], seed, choice.setting, choice.accuracy, choice.chosen)
        for head, per_seed in fitted.items()
        for seed, one in zip(seeds, per_seed, strict=True)
        for choice in one.choices
    ]
    columns = ("condition", "seed", "setting", "held_out_accuracy", "chosen")
    return {name: [row[index] for row in rows] for index, name in enumerate(columns)}
