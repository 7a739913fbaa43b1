"""The numbers of recent steps: read off the device now and then, logged, and refused where training has gone wrong."""

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.config import RunConfig
from pretrain.data.loading import COUNTED, NarratedLoader
from pretrain.objectives import ordering
from pretrain.objectives.health import NonFiniteLossError
from pretrain.objectives.total import chance
from pretrain.runlog import RunLog
from pretrain.step import StepResult
from tvts_bench.errors import UserError
from tvts_bench.training.ranks import Rank, mean_over_ranks

logger = logging.getLogger(__name__)

_COLLAPSED = {"video": "video_collapsed", "text": "text_collapsed"}
_SORTED = "sorted_samples"


class CollapsedError(UserError):
    """All clips, or all transcripts, have had the same embedding for too long."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """One step whose numbers nobody has read yet."""

    step: int  # from 1
    rate: float
    clips: int  # over all ranks
    names: tuple[str, ...]
    numbers: Tensor  # one for each name, on the device: reading them would wait for it
    looked: bool  # whether it was looked for collapse


class StepWatch:
    """Collects what steps say. All ranks add the same steps and read at the same ones.

    `alike` is how many steps in a row had collapsed embeddings, as far as was looked; `counts` is what happened to
    samples since the start of the run, on all ranks. Both are part of a run's state.
    """

    def __init__(
        self, config: RunConfig, rank: Rank, log: RunLog, loader: NarratedLoader, *, items: int, every: int
    ) -> None:
        """`items` are put in order by the model; embeddings are looked at in every `every`-th step."""
        self.alike = 0
        self.counts: dict[str, int] = {}
        self._config, self._rank, self._log, self._loader = config, rank, log, loader
        self._items, self._every = items, every
        self._before: Mapping[str, int] = {}
        self._unread: list[_Seen] = []
        self.start_clock()

    def restore(self, alike: int, counts: Mapping[str, int]) -> None:
        """Take up what an earlier part of the run left."""
        self.alike, self.counts, self._before = alike, dict(counts), dict(counts)

    def start_clock(self) -> None:
        """Count the time from here: the rate of clips is that of training alone."""
        self._clock = time.perf_counter()

    def add(self, result: StepResult, norm: Tensor, *, step: int, rate: float, clips: int, looked: bool) -> None:
        """Put the numbers of `step` (from 1) aside; `norm` is that of its gradient, `clips` those of this rank."""
        loss = result.loss
        values = {"loss": loss.total, "base": loss.base, "sort": loss.sort, "gradient_norm": norm, **loss.metrics}
        values |= {_SORTED: loss.sorted_samples}
        values |= {
            _COLLAPSED["video"]: torch.tensor(float(result.video_collapsed)),
            _COLLAPSED["text"]: torch.tensor(float(result.text_collapsed)),
        }
        present = {name: value for name, value in values.items() if value is not None}
        numbers = torch.stack([value.detach().to(loss.total.device, torch.float32) for value in present.values()])
        clips *= self._rank.world_size
        self._unread.append(
            _Seen(step=step, rate=rate, clips=clips, names=tuple(present), numbers=numbers, looked=looked)
        )

    @property
    def is_finite(self) -> bool:
        """Whether the numbers that nobody has read yet are, as far as this rank knows."""
        return all(bool(torch.isfinite(seen.numbers).all()) for seen in self._unread)

    def read(self) -> None:
        """Read and log the steps since the last time.

        Raises:
            NonFiniteLossError: a loss, or the norm of its gradient, is not finite.
            CollapsedError: embeddings have been alike for `collapse_after` steps. Without L_base, where nothing
                compares clips with each other, that is said once and ends nothing.
        """
        if not self._unread:
            return
        unread, self._unread = self._unread, []
        rows = mean_over_ranks(torch.stack([seen.numbers for seen in unread]).cpu(), self._rank).tolist()
        found = [dict(zip(seen.names, row, strict=True)) for seen, row in zip(unread, rows, strict=True)]
        speed = sum(seen.clips for seen in unread) / max(time.perf_counter() - self._clock, 1e-9)
        self.start_clock()
        for seen, numbers in zip(unread, found, strict=True):
            self._log.write({**self._record(seen, numbers), "clips_per_second": speed})
        self.counts = self._counted()
        self._log.write({"step": unread[-1].step, "counts": self.counts, "unreadable": self._loader.failures[-3:]})
        self._log.flush()
        _refuse_not_finite(unread, found)
        self._refuse_collapsed(unread, found)

    def _record(self, seen: _Seen, numbers: Mapping[str, float]) -> dict[str, object]:
        """A step's line in the log: only what was measured in it."""
        objective = self._config.objective
        guess = chance(objective, seen.clips, self._items)
        left_out = {_SORTED, *(() if seen.looked else _COLLAPSED.values())}
        if objective.sorts and not numbers[_SORTED]:  # captions alone: 0 would read as a loss and as accuracies
            left_out |= {"sort", *ordering.chance(objective.sort, self._items)}
        shown = {name: value for name, value in numbers.items() if name not in left_out}
        guess = {name: value for name, value in guess.items() if name not in left_out}
        return {"step": seen.step, "lr": seen.rate, "clips": seen.clips, **shown, "chance": guess}

    def _counted(self) -> dict[str, int]:
        """What happened to samples in this and in earlier parts of the run, on all ranks."""
        mine = torch.tensor([self._loader.counts[name] for name in COUNTED], dtype=torch.float64)
        everywhere = mean_over_ranks(mine, self._rank) * self._rank.world_size
        total = Counter(self._before)
        total.update({name: round(count) for name, count in zip(COUNTED, everywhere.tolist(), strict=True)})
        return {name: count for name, count in sorted(total.items()) if count}

    def _refuse_collapsed(self, unread: Sequence[_Seen], found: Sequence[Mapping[str, float]]) -> None:
        for seen, numbers in zip(unread, found, strict=True):
            if not seen.looked:
                continue
            sick = [what for what, name in _COLLAPSED.items() if numbers[name] > 0]
            since = (seen.step - 1) % self._every + 1  # steps that this look stands for
            before, self.alike = self.alike, self.alike + since if sick else 0
            if before < self._config.collapse_after <= self.alike:
                self._report_collapse(
                    f"all {' and '.join(sick)} embeddings have been alike for {self.alike} steps up to step {seen.step}"
                )

    def _report_collapse(self, what: str) -> None:
        if self._config.objective.align:
            raise CollapsedError(
                f"{what} (mean cosine above 0.999): the network tells nothing apart; lower optim.lr, or raise "
                "collapse_after if it only starts slowly"
            )
        if self._rank.is_first:
            logger.warning("%s (mean cosine of [CLS] above 0.999): without L_base nothing keeps them apart", what)


def _refuse_not_finite(unread: Sequence[_Seen], found: Sequence[Mapping[str, float]]) -> None:
    """The gradient counts as well: one that is not finite spoils the weights while the loss is still a number."""
    for seen, numbers in zip(unread, found, strict=True):
        for name, what in (("loss", "loss"), ("gradient_norm", "norm of the gradient")):
            if not math.isfinite(numbers[name]):
                raise NonFiniteLossError(
                    f"the {what} is {numbers[name]:g} at step {seen.step}: lower optim.lr, lengthen optim.warmup or "
                    "set optim.clip_grad; a state saved before is whole"
                )
