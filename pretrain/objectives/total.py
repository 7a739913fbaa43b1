"""The loss of one step from what the model gave: L_base, L_sort, their sum, and the accuracies to log."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.gather import gather_rows, rank_and_size, sum_over_ranks
from pretrain.model.tvts import TVTSOutput
from pretrain.objectives import ordering
from pretrain.objectives.alignment import alignment
from pretrain.objectives.config import ObjectiveConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class StepLoss:
    """The mean over the ranks of every tensor here is its value for the global batch (with equal batches)."""

    total: Tensor  # scalar: base_weight * base + weight * sort; what to call backward() on
    base: Tensor | None  # scalar L_base, detached; None where it is off
    sort: Tensor | None  # scalar L_sort, detached; None where it is off
    metrics: dict[str, Tensor]  # percent, scalars, detached; `chance` has the same names
    sorted_samples: Tensor  # scalar, of all ranks: those that took part in sorting; at 0, sort and its metrics are 0


def step_loss(output: TVTSOutput, segments: Tensor, config: ObjectiveConfig) -> StepLoss:
    """Losses of one batch, computed in float32 where the model is of lower precision.

    A collective call: with several processes, every rank must make it, with a batch of the same size.

    Args:
        output: of the model, for the same batch.
        segments: int64 [B]; samples with fewer than K segments (captions) take part in L_base only.
        config: which losses.
    """
    metrics: dict[str, Tensor] = {}
    total = torch.zeros((), device=segments.device)
    base = sort = None
    samples = sum_over_ranks((segments == config.segments).sum().float()) if config.sorts else total
    with torch.autocast(segments.device.type, enabled=False):
        if config.align:
            assert output.video is not None
            assert output.text is not None
            rank, _ = rank_and_size()
            video, text = _precise(output.video), _precise(output.text)
            candidates = gather_rows(video), gather_rows(text)
            aligned = alignment(video, text, candidates, rank * len(segments), config.temperature)
            base, metrics["alignment_accuracy"] = aligned.loss, aligned.accuracy
            total = total + config.base_weight * base
        if config.sorts:
            assert output.sort_logits is not None
            result = ordering.sorting(config.sort, _precise(output.sort_logits), output.order)
            # All rows go through the sorter and captions weigh 0, so that no rank ever lacks a gradient.
            share = (segments == config.segments) * rank_and_size()[1]  # [B]
            sort = (result.loss * share).sum() / samples.clamp(min=1)
            for name, values in result.accuracies.items():
                metrics[name] = (values * share).sum() / samples.clamp(min=1)
            total = total + config.weight * sort
    return StepLoss(
        total=total,
        base=None if base is None else base.detach(),
        sort=None if sort is None else sort.detach(),
        metrics=metrics,
        sorted_samples=samples,
    )


def chance(config: ObjectiveConfig, global_batch: int, items: int) -> dict[str, float]:
    """Percent that a guess reaches in each of `StepLoss.metrics`.

    Args:
        config: which losses.
        global_batch: samples of one step over all ranks.
        items: how many things are put in order, `TVTSConfig.items`.
    """
    base = {"alignment_accuracy": 100 / global_batch} if config.align else {}
    return base | (ordering.chance(config.sort, items) if config.sorts else {})


def _precise(values: Tensor) -> Tensor:
    """`values` in float32, or float64 if they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
