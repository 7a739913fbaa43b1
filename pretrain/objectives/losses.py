"""The losses of pretraining by name, and the loss of one step: their weighted sum."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.model.tvts import TVTSOutput
from pretrain.objectives import ordering
from pretrain.objectives.config import ObjectiveConfig
from tvts_bench.distributed import all_gather_rows, all_reduce_sum, rank_and_size
from tvts_bench.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Loss:
    """One part of the total."""

    weight: Callable[[ObjectiveConfig], float]  # 0: the loss is off
    compute: Callable[[TVTSOutput, Tensor, ObjectiveConfig], dict[str, Tensor]]
    """As `step_loss`: the scalar to differentiate under the loss's own name, and beside it what is logged. The mean
    over the ranks of every scalar is its value for the global batch (with equal batches)."""
    chance: Callable[[ObjectiveConfig, int, int], dict[str, float]]  # as `chance`


def step_loss(output: TVTSOutput, segments: Tensor, config: ObjectiveConfig) -> dict[str, Tensor]:
    """All scalars of one batch, computed in float32 where the model is of lower precision.

    A collective call: with several processes, every rank must make it, with a batch of the same size.

    Args:
        output: of the model, for the same batch.
        segments: int64 [B]; samples with fewer than K segments (captions) take part in L_base only.
        config: which losses.

    Returns:
        "loss", the weighted sum, to call backward() on; detached, each loss that is on by its name, and its metrics
        in percent, whose names are those of `chance`.
    """
    total = torch.zeros((), device=segments.device)
    scalars: dict[str, Tensor] = {}
    with torch.autocast(segments.device.type, enabled=False):
        for name, loss in LOSSES.items():
            if weight := loss.weight(config):
                values = loss.compute(output, segments, config)
                total = total + weight * values[name]
                scalars |= {key: value.detach() for key, value in values.items()}
    return {"loss": total, **scalars}


def chance(config: ObjectiveConfig, global_batch: int, items: int) -> dict[str, float]:
    """Percent that a guess reaches in each of `step_loss`'s metrics.

    Args:
        config: which losses.
        global_batch: samples of one step over all ranks.
        items: how many things are put in order, `TVTSConfig.items`.
    """
    parts = [loss.chance(config, global_batch, items) for loss in LOSSES.values() if loss.weight(config)]
    return {name: percent for part in parts for name, percent in part.items()}


def _align(output: TVTSOutput, segments: Tensor, config: ObjectiveConfig) -> dict[str, Tensor]:
    """L_base: clips and transcripts of the global batch are contrasted with each other."""
    assert output.video is not None
    assert output.text is not None
    video, text = _precise(output.video), _precise(output.text)
    candidates = all_gather_rows(video), all_gather_rows(text)
    aligned = alignment(video, text, candidates, rank_and_size()[0] * len(segments), config.temperature)
    return {"base": aligned.loss, "alignment_accuracy": aligned.accuracy}


def _sort(output: TVTSOutput, segments: Tensor, config: ObjectiveConfig) -> dict[str, Tensor]:
    """L_sort, and `sorted_samples`, of all ranks: those that took part; at 0, the loss and its metrics are 0."""
    assert output.sort_logits is not None
    is_sorted = segments == config.segments
    samples = all_reduce_sum(is_sorted.sum().float())
    result = ordering.sorting(config.sort, _precise(output.sort_logits), output.order)
    # All rows go through the sorter and captions weigh 0, so that no rank ever lacks a gradient.
    share = is_sorted * rank_and_size()[1]  # [B]
    values = {"sort": result.loss, **result.accuracies}
    means = {name: (each * share).sum() / samples.clamp(min=1) for name, each in values.items()}
    return {**means, "sorted_samples": samples}


def _precise(values: Tensor) -> Tensor:
    """`values` in float32, or float64 if they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


LOSSES: Mapping[str, Loss] = {
    "base": Loss(
        weight=lambda config: config.base_weight if config.align else 0.0,
        compute=_align,
        chance=lambda config, global_batch, items: {"alignment_accuracy": 100 / global_batch},
    ),
    "sort": Loss(
        weight=lambda config: config.weight if config.sorts else 0.0,
        compute=_sort,
        chance=lambda config, global_batch, items: ordering.chance(config.sort, items),
    ),
}
"""In the order in which they are added up."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Alignment:
    """L_base of one process's rows."""

    loss: Tensor  # scalar: InfoNCE(video -> text) + InfoNCE(text -> video), each a mean over the rows
    accuracy: Tensor  # scalar, percent of the 2 B queries whose own partner is the most similar; chance 100 / G


def alignment(
    video: Tensor, text: Tensor, candidates: tuple[Tensor, Tensor], first: int, temperature: float
) -> Alignment:
    """Contrast B clips and their B texts with all G of the global batch.

    Averaged over the ranks, the loss of each rank's own rows is the loss of the global batch: no rank computes the
    G x G matrix.

    Args:
        video: [B, d] in float32 or float64, not normalised; this process's clips.
        text: [B, d], their transcripts.
        candidates: ([G, d], [G, d]), the clips and the transcripts of all ranks, in rank order.
        first: index of this process's first row among the candidates.
        temperature: cosine similarities are divided by it.
    """
    all_video, all_text = (F.normalize(rows, dim=-1) for rows in candidates)
    to_text = F.normalize(video, dim=-1) @ all_text.T / temperature  # [B, G]
    to_video = F.normalize(text, dim=-1) @ all_video.T / temperature
    own = first + torch.arange(len(video), device=video.device)
    loss = F.cross_entropy(to_text, own) + F.cross_entropy(to_video, own)
    hits = torch.cat([_is_best(to_text, own), _is_best(to_video, own)])
    return Alignment(loss=loss, accuracy=100 * hits.float().mean())


def _is_best(similarities: Tensor, own: Tensor) -> Tensor:
    """Whether each row [B, G] is highest at `own` [B] and nowhere else: a tie, as after a collapse, is a miss."""
    similarities = similarities.detach()
    return (similarities >= similarities.gather(1, own[:, None])).sum(dim=1) == 1


def check_negatives(global_batch: int, align: bool) -> None:
    """Refuse to contrast a single sample.

    Args:
        global_batch: samples of one step over all ranks; gradient accumulation does not add negatives.
        align: whether L_base is on.

    Raises:
        UserError: there is nothing to tell a clip's transcript from.
    """
    if align and global_batch < 2:
        raise UserError(
            f"a global batch of {global_batch} has no negatives for L_base: raise the batch size or add processes "
            "(gradient accumulation adds none), or set objective.align=false"
        )
