"""Multinomial logistic regression: scikit-learn's on the CPU, and the same optimum by torch's L-BFGS where a GPU is.

The objective is scikit-learn's: 1/2 ||W||^2 + C * sum of cross-entropies, biases free; two classes share one column.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from scipy.special import log_softmax
from torch import Tensor
from torch.nn import functional as F

from tvts_bench.errors import UserError
from tvts_bench.probes.base import (
    Advance,
    Fitted,
    Float32Array,
    FloatArray,
    IntArray,
    LabelledFeatures,
    Task,
    at_the_end,
    best,
    choices,
    percent_right,
    unheard,
)

SMALL = 10**9  # multiplications of a matrix product; BLAS threads wait for each other longer than such a one takes

Solver = Literal["sklearn", "torch"]
Weights = tuple[FloatArray, FloatArray]
"""[C, D] and [C] of a fit; of two classes, one column."""


@dataclass(frozen=True, kw_only=True)
class Logistic:
    """The head."""

    cs: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)  # C: 1 / strength of the penalty, rising
    solver: Solver = "sklearn"
    # A fit ends when the largest entry of the gradient (of the mean over clips) is below this share of the
    # cross-entropy. Fixed limits do not do: where classes can be separated the gradient is small far from the optimum.
    tolerance: float = 3e-5
    choosing_tolerance: float = 1e-4  # of the fits that C is chosen by (benchmarks/README.md has what that changes)
    most_steps: int = 2000  # iterations of L-BFGS, between two looks at the cross-entropy

    def __post_init__(self) -> None:
        if not self.cs or min(self.cs) <= 0 or list(self.cs) != sorted(set(self.cs)):
            raise UserError(f"the C of logistic regression must be positive and increasing, got {list(self.cs)}")
        if self.solver not in get_args(Solver):
            raise UserError(f"unknown solver {self.solver!r}; there are: {', '.join(get_args(Solver))}")
        for name in ("tolerance", "choosing_tolerance", "most_steps"):
            if not getattr(self, name) > 0:
                raise UserError(f"{name} must be positive, got {getattr(self, name):g}")


def fit_logistic(config: Logistic, task: Task, *, device: str = "cpu", advance: Advance = unheard) -> Fitted:
    """Logits of the test clips from the C that was best on the held-out part, fitted to all training clips.

    Where nothing is held out, C is the middle of the grid. A class without a training clip is no answer (-inf).

    Args:
        config: the head.
        task: with scaled features.
        device: of the torch solver.
        advance: called with every fit done; there are `num_fits`.
    """
    slow: list[float] = []
    accuracies: tuple[float, ...] | None = None
    chosen = len(config.cs) // 2
    start: Weights | None = None
    if task.has_held:
        path, held = _Path(config, task.fit, device), task.held
        tried, ended = [], []
        for c in config.cs:
            slow += [] if path.fit(c, config.choosing_tolerance) else [c]
            tried.append(percent_right(path.scores(held.values, task.num_classes), held.labels))
            ended.append(path.solver.weights)
            advance(1)
        accuracies = tuple(tried)
        chosen = best(accuracies)
        start = ended[chosen]
    path = _Path(config, task.train, device, start)
    slow += [] if path.fit(config.cs[chosen], config.tolerance) else [config.cs[chosen]]
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
        self.values = train.values
        self.seen, self.targets = np.unique(train.labels, return_inverse=True)
        self.solver = (
            _Sklearn(config, train.values, self.targets)
            if config.solver == "sklearn"
            else _Torch(config, train.values, self.targets, torch.device(device))
        )
        self.cross_entropy = math.log(len(self.seen))  # at zero
        if start is not None:
            self.solver.weights = start
            self.cross_entropy = self._cross_entropy()

    def fit(self, c: float, tolerance: float) -> bool:
        """Whether it converged."""
        while True:
            before = self.cross_entropy
            converged = self.solver.fit(c, tolerance * before)
            self.cross_entropy = self._cross_entropy()
            if not converged or self.cross_entropy > before / 2:  # else the limit was too large
                return converged

    def scores(self, values: Float32Array, num_classes: int) -> FloatArray:
        """Log-odds [N, C] of the last fit; -inf for a class that was not seen."""
        scores = np.full((len(values), num_classes), -np.inf)
        scores[:, self.seen] = self._odds(values)
        return scores

    def _odds(self, values: Float32Array) -> FloatArray:
        """[N, classes that were seen]."""
        odds = self.solver.odds(values)
        # Of two classes there is one column: the second's odds against the first.
        return np.concatenate([np.zeros_like(odds), odds], axis=1) if odds.shape[1] == 1 else odds

    def _cross_entropy(self) -> float:
        """The mean over the training clips."""
        right = log_softmax(self._odds(self.values), axis=1)[np.arange(len(self.targets)), self.targets]
        return -float(right.mean())


class _Sklearn:
    def __init__(self, config: Logistic, values: Float32Array, targets: IntArray) -> None:
        from sklearn.linear_model import LogisticRegression

        self.values, self.targets, self.most_steps = values.astype(np.float64), targets, config.most_steps
        self.model = LogisticRegression(max_iter=config.most_steps, warm_start=True)
        self.threads = 1 if values.size * (targets.max() + 1) < SMALL else None

    def fit(self, c: float, gradient: float) -> bool:
        """Whether the gradient's largest entry came down to `gradient`."""
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits

        with warnings.catch_warnings(), threadpool_limits(self.threads, user_api="blas"):
            warnings.simplefilter("ignore", ConvergenceWarning)  # the result says it
            self.model.set_params(C=c, tol=gradient).fit(self.values, self.targets)
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

    def fit(self, c: float, gradient: float) -> bool:
        """Whether the gradient's largest entry came down to `gradient`."""
        penalty = 0.5 / (c * len(self.values))
        optimizer = torch.optim.LBFGS(
            [self.weight, self.bias],
            max_iter=self.config.most_steps,
            max_eval=2 * self.config.most_steps,
            tolerance_grad=gradient,
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
