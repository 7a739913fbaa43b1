"""The heads of the cached probe by name: their settings, and one after the other fitted to one task."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tvts_bench.probes.base import Fitted, LabelledFeatures, Task
from tvts_bench.probes.knn import KNN, fit_knn
from tvts_bench.probes.linear import Linear, fit_linear, num_steps
from tvts_bench.probes.logistic import Logistic, fit_logistic, num_fits
from tvts_bench.probes.scaling import Scaling
from tvts_bench.runtime import Runtime

HeadName = Literal["knn", "logistic", "linear"]
CONDITIONS: dict[HeadName, str] = {"knn": "k-NN", "logistic": "logistic regression", "linear": "linear"}


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Settings of every head. k-NN takes cosines of features as they are; the others, scaled ones."""

    knn: KNN = field(default_factory=KNN)
    logistic: Logistic = field(default_factory=Logistic)
    linear: Linear = field(default_factory=Linear)
    scaled: bool = True  # every dimension to mean 0 and deviation 1 over the training clips; else as they are

    def fit(
        self, names: Sequence[HeadName], task: Task, seed: int, runtime: Runtime
    ) -> Iterator[tuple[HeadName, Fitted]]:
        """Each head of `names` on `task`, whose features are not scaled yet."""
        scaled = _scaled(task) if self.scaled else task
        for name in names:
            match name:
                case "knn":
                    yield name, fit_knn(self.knn, task, device=runtime.device)
                case "logistic":
                    with runtime.progress(num_fits(self.logistic, task), "fits", "logistic regression") as advance:
                        yield name, fit_logistic(self.logistic, scaled, device=runtime.device, advance=advance)
                case "linear":
                    with runtime.progress(num_steps(self.linear, task), "steps", "linear heads") as advance:
                        yield name, fit_linear(self.linear, scaled, seed=seed, device=runtime.device, advance=advance)

    def in_words(self, name: HeadName) -> str:
        """What is fixed of a head, for the lines under a table."""
        match name:
            case "knn":
                return f"weighted votes, temperature {self.knn.temperature:g}"
            case "logistic":
                return f"L2 penalty, solver {self.logistic.solver}{self._scale}"
            case "linear":
                linear = self.linear
                return (
                    f"SGD, momentum {linear.momentum:g}, {linear.epochs} epochs of batch {linear.batch_size}, cosine,"
                    f" best of {len(linear.grid)}{self._scale}"
                )

    @property
    def _scale(self) -> str:
        return ", scaled features" if self.scaled else ", features as they are"


def _scaled(task: Task) -> Task:
    scale = Scaling.of(task.train.values)
    train = LabelledFeatures(values=scale(task.train.values), labels=task.train.labels)
    return replace(task, train=train, test=scale(task.test))
