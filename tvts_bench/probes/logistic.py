"""Multinomial logistic regression: scikit-learn's on the CPU, and the same optimum by torch's L-BFGS where a GPU is.

The objective is scikit-learn's: 1/2 ||W||^2 + C * sum of cross-entropies, biases free; two classes share one column.
"""

import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tvts_bench.probes.base import (
    Advance,
    Fitted,
    Float32Array,
    FloatArray,
    IntArray,
    LabelledFeatures,
    ProbeError,
    Task,
    choices,
    percent_right,
    unheard,
)
from tvts_bench.probes.selection import at_the_end, best

Solver = Literal["sklearn", "torch"]
Weights = tuple[FloatArray, FloatArray]
"""[C, D] and [C] of a fit; of two classes, one column."""


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """The head."""

    cs: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)  # C: 1 / strength of the penalty, rising
    solver: Solver = "sklearn"
    # Largest entry of the gradient (of the mean over clips). A thirtieth of this takes three times as long and changes
    # one answer in two hundred (benchmarks/README.md).
    tolerance: float = 3e-5
    most_steps: int = 2000  # iterations of L-BFGS

    def __post_init__(self) -> None:
        if not self.cs or min(self.cs) <= 0 or list(self.cs) != sorted(set(self.cs)):
            raise ProbeError(f"the C of logistic regression must be positive and increasing, got {list(self.cs)}")
        if self.solver not in get_args(Solver):
            raise ProbeError(f"unknown solver {self.solver!r}; there are: {', '.join(get_args(Solver))}")
        if not self.tolerance > 0 or self.most_steps < 1:
            raise ProbeError(f"tolerance and most_steps must be positive, got {self.tolerance:g} and {self.most_steps}")


def fit_logistic(config: Logistic, task: Task, *, device: str = "cpu", advance: Advance = unheard) -> Fitted:
    """Logits of the test clips from the C that was best on the held-out part, fitted to all training clips.

    Where nothing is held out, C is the middle of the grid. A class without a training clip is no answer (-inf).

    Args:
        config: the head.
        task: with scaled features.
        device: of the torch solver.
        advance: told of every fit done; there are `num_fits`.
    """
    slow: list[float] = []
    accuracies: tuple[float, ...] | None = None
    chosen = len(config.cs) // 2
    start: Weights | None = None
    if task.has_held:
        path, held = _Path(config, task.fit, device), task.held
        found, ended = [], []
        for c in config.cs:
            slow += [] if path.fit(c) else [c]
            found.append(percent_right(path.scores(held.values, task.num_classes), held.labels))
            ended.append(path.solver.weights)
            advance(1)
        accuracies = tuple(found)
        chosen = best(accuracies)
        start = ended[chosen]
    path = _Path(config, task.train, device, start)
    slow += [] if path.fit(config.cs[chosen]) else [config.cs[chosen]]
    advance(1)
    return Fitted(
        scores=path.scores(task.test, task.num_classes),
        choices=choices(tuple(f"C={c:g}" for c in config.cs), accuracies, chosen),
        notes=_notes(config, accuracies, chosen, slow),
    )


def num_fits(config: Logistic, task: Task) -> int:
    """How many fits `fit_logistic` makes."""
    return 1 + (len(config.cs) if task.has_held else 0)


def _notes(config: Logistic, accuracies: tuple[float, ...] | None, chosen: int, slow: list[float]) -> tuple[str, ...]:
    notes = []
    if slow:
        values = ", ".join(f"{c:g}" for c in dict.fromkeys(slow))
        notes.append(f"logistic regression did not converge in {config.most_steps} steps for C = {values}")
    if accuracies is not None and at_the_end(accuracies, chosen):
        notes.append(f"logistic regression chose C={config.cs[chosen]:g}, an end of its grid")
    return tuple(notes)


class _Path:
    """Fits to one training set for one C after another, each from where the last one ended."""

    def __init__(self, config: Logistic, train: LabelledFeatures, device: str, start: Weights | None = None) -> None:
        """`start`: where the first fit begins, of the same classes; None: at zero."""
        self.seen, targets = np.unique(train.labels, return_inverse=True)
        self.solver = (
            _Sklearn(config, train.values, targets)
            if config.solver == "sklearn"
            else _Torch(config, train.values, targets, torch.device(device))
        )
        if start is not None:
            self.solver.weights = start

    def fit(self, c: float) -> bool:
        """Whether it converged."""
        return self.solver.fit(c)

    def scores(self, values: Float32Array, num_classes: int) -> FloatArray:
        """Log-odds [N, C] of the last fit; -inf for a class that was not seen."""
        odds = self.solver.odds(values)
        if odds.shape[1] == 1:
            odds = np.concatenate([np.zeros_like(odds), odds], axis=1)  # of the first class against itself
        scores = np.full((len(values), num_classes), -np.inf)
        scores[:, self.seen] = odds
        return scores


class _Sklearn:
    def __init__(self, config: Logistic, values: Float32Array, targets: IntArray) -> None:
        from sklearn.linear_model import LogisticRegression

        self.values, self.targets, self.most_steps = values.astype(np.float64), targets, config.most_steps
        self.model = LogisticRegression(tol=config.tolerance, max_iter=config.most_steps, warm_start=True)

    def fit(self, c: float) -> bool:
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the result says it
            self.model.set_params(C=c).fit(self.values, self.targets)
        return int(self.model.n_iter_.max()) < self.most_steps

    @property
    def weights(self) -> Weights:
        return self.model.coef_.copy(), self.model.intercept_.copy()

    @weights.setter
    def weights(self, weights: Weights) -> None:
        self.model.coef_, self.model.intercept_ = weights  # what `warm_start` begins from

    def odds(self, values: Float32Array) -> FloatArray:
        odds: FloatArray = self.model.decision_function(values.astype(np.float64))
        return odds[:, None] if odds.ndim == 1 else odds


class _Torch:
    def __init__(self, config: Logistic, values: Float32Array, targets: IntArray, device: torch.device) -> None:
        self.config, self.device = config, device
        self.dtype = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
        self.values, self.targets = self._tensor(values), torch.from_numpy(targets).to(device)
        classes = int(targets.max()) + 1
        columns = classes if classes > 2 else 1
        self.weight = torch.zeros((columns, values.shape[1]), dtype=self.dtype, device=device, requires_grad=True)
        self.bias = torch.zeros(columns, dtype=self.dtype, device=device, requires_grad=True)

    def fit(self, c: float) -> bool:
        penalty = 0.5 / (c * len(self.values))
        optimizer = torch.optim.LBFGS(
            [self.weight, self.bias],
            max_iter=self.config.most_steps,
            max_eval=2 * self.config.most_steps,
            tolerance_grad=self.config.tolerance,
            tolerance_change=1e-14,  # as little as in scikit-learn: the gradient decides
            history_size=10,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = self._cross_entropy() + penalty * self.weight.square().sum()
            value.backward()
            return value

        optimizer.step(loss)
        return int(optimizer.state[self.weight]["n_iter"]) < self.config.most_steps

    @property
    def weights(self) -> Weights:
        weight, bias = (tensor.detach().cpu().numpy().copy() for tensor in (self.weight, self.bias))
        return weight, bias

    @weights.setter
    def weights(self, weights: Weights) -> None:
        with torch.no_grad():
            for tensor, values in zip((self.weight, self.bias), weights, strict=True):
                tensor.copy_(torch.from_numpy(values))

    @torch.no_grad()
    def odds(self, values: Float32Array) -> FloatArray:
        odds: FloatArray = F.linear(self._tensor(values), self.weight, self.bias).cpu().numpy()
        return odds

    def _cross_entropy(self) -> Tensor:
        odds = F.linear(self.values, self.weight, self.bias)
        if odds.shape[1] == 1:
            return F.binary_cross_entropy_with_logits(odds[:, 0], self.targets.to(self.dtype))
        return F.cross_entropy(odds, self.targets)

    def _tensor(self, values: Float32Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device, self.dtype)
