"""One optimisation step: a pure function of weights, batch and seeds.

Masks are drawn from each sample's own seed and dropout from (seed, step, rank, micro-batch), so no state of a random
number generator outlives a step: a run is resumed from weights, optimiser and step number alone.

Gradient accumulation is exact. L_base contrasts every clip with the whole batch, so micro-batches cannot simply be
summed: their embeddings are computed first without a graph, the loss of the whole batch is differentiated by them, and
each micro-batch is then run again to pass its share of that gradient on (as GradCache, Gao et al. 2021, does). It
costs one more forward pass and gives the gradient of the undivided batch.
"""

import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pretrain.data.batches import NarratedBatch
from pretrain.model.presentation import Presentation
from pretrain.model.tvts import TVTS, TVTSOutput
from pretrain.objectives.config import ObjectiveConfig
from pretrain.objectives.health import collapsed
from pretrain.objectives.total import StepLoss, step_loss
from tvts_bench.training.optim import Precision, autocast
from tvts_bench.video.spec import IMAGENET_MEAN, IMAGENET_STD
from tvts_bench.video.transforms import normalise

_DROPOUT = 3  # what a seed is for; the data package uses 1 and 2
_MASK_CAPTIONS = 0.0  # the paper masks no captioned image or clip
_FIELDS = ("video", "text", "sort_logits")  # of TVTSOutput, those that the loss is differentiated by


@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """What a step needs beside the batch."""

    seed: int
    rank: int
    device: str
    precision: Precision
    accumulate: int


@dataclass(frozen=True, kw_only=True, eq=False)
class StepResult:
    """The loss of a step whose gradient is in the parameters, and whether embeddings are all alike (this rank's)."""

    loss: StepLoss
    video_collapsed: bool
    text_collapsed: bool


def backward(
    model: nn.Module, batch: NarratedBatch, step: int, objective: ObjectiveConfig, settings: StepSettings, *, look: bool
) -> StepResult:
    """Add the gradient of `batch`'s loss to the parameters of `model` (a TVTS, or one in DistributedDataParallel).

    Args:
        model: in training mode, on the settings' device.
        batch: this rank's, with seeds.
        step: its number.
        objective: which losses.
        settings: the rest.
        look: whether to look for collapse, which waits for a GPU.
    """
    shown = presentations(bare(model), batch)
    if settings.accumulate == 1:
        _seed(settings, step, 0)
        output = _forward(model, batch, shown, settings)
        loss = step_loss(output, batch.segments.to(settings.device), objective)
        loss.total.backward()
    else:
        output, loss = _backward_in_parts(model, batch, shown, step, objective, settings)
    looked_at = (output.video, output.text) if objective.align else (output.clip_cls, output.text_cls)
    alike = [look and rows is not None and collapsed(rows) for rows in looked_at]
    return StepResult(loss=loss, video_collapsed=alike[0], text_collapsed=alike[1])


def bare(model: nn.Module) -> TVTS:
    """The model without DistributedDataParallel."""
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    assert isinstance(inner, TVTS)
    return inner


def presentations(model: TVTS, batch: NarratedBatch) -> Presentation:
    """Every sample's masks and orders from its own seed, so that they do not depend on the number of ranks."""
    assert batch.seeds is not None
    frames = batch.clips.shape[2]
    is_caption = bool((batch.segments < batch.input_ids.shape[1]).all())
    mask = _MASK_CAPTIONS if is_caption else None
    drawn = [model.present(1, frames, torch.Generator().manual_seed(seed), mask) for seed in batch.seeds.tolist()]
    return Presentation(
        keep=_cat([each.keep for each in drawn]),
        piece_keep=_cat([each.piece_keep for each in drawn]),
        order=_cat([each.order for each in drawn]),
    )


def _backward_in_parts(
    model: nn.Module,
    batch: NarratedBatch,
    shown: Presentation,
    step: int,
    objective: ObjectiveConfig,
    settings: StepSettings,
) -> tuple[TVTSOutput, StepLoss]:
    """The same gradient from micro-batches."""
    parts = _parts(len(batch), settings.accumulate)
    pieces = [(_rows(batch, part), _shown_rows(shown, part)) for part in parts]
    outputs = []
    for number, (rows, seen) in enumerate(pieces):
        _seed(settings, step, number)
        with torch.no_grad():
            outputs.append(_forward(bare(model), rows, seen, settings))
    whole = TVTSOutput(
        **{name: _leaf([getattr(each, name) for each in outputs]) for name in _FIELDS},
        **{name: _cat([getattr(each, name) for each in outputs]) for name in ("order", "clip_cls", "text_cls")},
    )
    loss = step_loss(whole, batch.segments.to(settings.device), objective)
    loss.total.backward()
    for number, ((rows, seen), part) in enumerate(zip(pieces, parts, strict=True)):
        last = number == len(pieces) - 1
        waits = isinstance(model, DistributedDataParallel) and not last
        _seed(settings, step, number)  # the same dropout as before
        with model.no_sync() if waits else nullcontext():  # type: ignore[operator]
            output = _forward(model, rows, seen, settings)
            pairs = [(getattr(output, name), getattr(whole, name)) for name in _FIELDS]
            pairs = [(now, before) for now, before in pairs if now is not None]
            torch.autograd.backward(
                [now for now, _ in pairs], [before.grad[part].to(now.dtype) for now, before in pairs]
            )
    return whole, loss


def _forward(model: nn.Module, batch: NarratedBatch, shown: Presentation, settings: StepSettings) -> TVTSOutput:
    on_device = batch.to(settings.device, non_blocking=True)
    clips = normalise(on_device.clips, IMAGENET_MEAN, IMAGENET_STD)
    with autocast(settings.device, settings.precision):
        output: TVTSOutput = model(
            clips,
            on_device.input_ids,
            on_device.attention_mask,
            on_device.segments,
            shown.to(settings.device, non_blocking=True),
        )
    return output


def _seed(settings: StepSettings, step: int, number: int) -> None:
    """Seed dropout, which knows no other generator than torch's own."""
    sequence = np.random.SeedSequence([settings.seed, _DROPOUT, step, settings.rank, number])
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))


def _parts(size: int, count: int) -> list[slice]:
    """`count` consecutive parts of `size` rows, as equal as can be."""
    edges = [size * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


def _rows(batch: NarratedBatch, part: slice) -> NarratedBatch:
    return NarratedBatch(
        clips=batch.clips[part],
        input_ids=batch.input_ids[part],
        attention_mask=batch.attention_mask[part],
        segments=batch.segments[part],
        ids=batch.ids[part],
        seeds=None if batch.seeds is None else batch.seeds[part],
    )


def _shown_rows(shown: Presentation, part: slice) -> Presentation:
    cut = {name: getattr(shown, name) for name in ("keep", "piece_keep", "order")}
    return replace(shown, **{name: None if rows is None else rows[part] for name, rows in cut.items()})


def _cat(parts: Sequence[Tensor | None]) -> Tensor | None:
    rows = [part for part in parts if part is not None]
    return torch.cat(rows) if rows else None


def _leaf(parts: Sequence[Tensor | None]) -> Tensor | None:
    """The rows of all parts as the start of a new graph."""
    whole = _cat(parts)
    return None if whole is None else whole.float().requires_grad_()
