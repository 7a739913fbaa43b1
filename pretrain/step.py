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
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from pretrain.data.loading import NarratedBatch
from pretrain.model.masking import Presentation
from pretrain.model.tvts import TVTS, TVTSOutput
from pretrain.objectives.config import ObjectiveConfig
from pretrain.objectives.losses import step_loss
from tvts_bench.distributed import sync_on_last
from tvts_bench.training.optim import autocast
from tvts_bench.training.recipe import Precision
from tvts_bench.training.sampler import seed_of
from tvts_bench.video.spec import IMAGENET_MEAN, IMAGENET_STD
from tvts_bench.video.transforms import normalise

R = TypeVar("R", NarratedBatch, Presentation)

COLLAPSED = 0.999  # mean cosine between different rows from which embeddings count as collapsed
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


def backward(
    model: nn.Module, batch: NarratedBatch, step: int, objective: ObjectiveConfig, settings: StepSettings, *, look: bool
) -> dict[str, Tensor]:
    """Add the gradient of `batch`'s loss to the parameters of `model` (a TVTS, or one in DistributedDataParallel).

    Args:
        model: in training mode, on the settings' device.
        batch: this rank's, with seeds.
        step: its number.
        objective: which losses.
        settings: the rest.
        look: whether to look for collapse, which waits for a GPU.

    Returns:
        The scalars of `step_loss`, and whether all embeddings of this rank are alike: `video_collapsed` and
        `text_collapsed`, 0 where nobody looked.
    """
    shown = presentations(bare(model), batch)
    if settings.accumulate == 1:
        _seed(settings, step, 0)
        output = forward(model, batch, shown, settings)
        scalars = step_loss(output, batch.segments.to(settings.device), objective)
        scalars["loss"].backward()
    else:
        output, scalars = _backward_in_parts(model, batch, shown, step, objective, settings)
    looked_at = (output.video, output.text) if objective.align else (output.clip_cls, output.text_cls)
    for name, rows in zip(("video", "text"), looked_at, strict=True):
        scalars[f"{name}_collapsed"] = torch.tensor(float(look and rows is not None and collapsed(rows)))
    return scalars


def collapsed(embeddings: Tensor) -> bool:
    """Whether all rows of `embeddings` [N, d] are alike: mean cosine of different rows above 0.999, or no spread.

    One row says nothing (False), and neither does NaN: which is refused as a loss.
    """
    rows = embeddings.detach().float()
    count = len(rows)
    if count < 2:
        return False
    if bool((rows == rows[0]).all()):  # also all zero, which has no direction
        return True
    total = F.normalize(rows, dim=-1).sum(dim=0)
    return bool((total @ total - count) / (count * (count - 1)) > COLLAPSED)


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
    names = [each.name for each in fields(Presentation)]
    return Presentation(**{name: _cat([getattr(each, name) for each in drawn]) for name in names})


def _backward_in_parts(
    model: nn.Module,
    batch: NarratedBatch,
    shown: Presentation,
    step: int,
    objective: ObjectiveConfig,
    settings: StepSettings,
) -> tuple[TVTSOutput, dict[str, Tensor]]:
    """The same gradient from micro-batches."""
    parts = _parts(len(batch), settings.accumulate)
    pieces = [(_rows(batch, part), _rows(shown, part)) for part in parts]
    outputs = []
    for number, (rows, seen) in enumerate(pieces):
        _seed(settings, step, number)
        with torch.no_grad():
            outputs.append(forward(bare(model), rows, seen, settings))
    whole = TVTSOutput(
        **{name: _leaf([getattr(each, name) for each in outputs]) for name in _FIELDS},
        **{name: _cat([getattr(each, name) for each in outputs]) for name in ("order", "clip_cls", "text_cls")},
    )
    scalars = step_loss(whole, batch.segments.to(settings.device), objective)
    scalars["loss"].backward()
    for number, ((rows, seen), part) in enumerate(zip(pieces, parts, strict=True)):
        _seed(settings, step, number)  # the same dropout as before
        with sync_on_last(model, is_last=number == len(pieces) - 1):
            output = forward(model, rows, seen, settings)
            pairs = [(getattr(output, name), getattr(whole, name)) for name in _FIELDS]
            pairs = [(now, before) for now, before in pairs if now is not None]
            torch.autograd.backward(
                [now for now, _ in pairs], [before.grad[part].to(now.dtype) for now, before in pairs]
            )
    return whole, scalars


def forward(model: nn.Module, batch: NarratedBatch, shown: Presentation, settings: StepSettings) -> TVTSOutput:
    """The output of the model for a batch of bytes, on the settings' device and in their precision.

    Args:
        model: a TVTS, or one in DistributedDataParallel.
        batch: on any device.
        shown: as `presentations` gives it.
        settings: device and precision.

    Returns:
        Embeddings and logits; lower precision where the settings say so.
    """
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
    torch.manual_seed(seed_of(settings.seed, _DROPOUT, step, settings.rank, number))


def _parts(size: int, count: int) -> list[slice]:
    """`count` consecutive parts of `size` rows, as equal as can be."""
    edges = [size * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(edges) if b > a]


def _rows(of: R, part: slice) -> R:
    """The rows `part` of a batch, or of what is shown of one; what is None stays so."""
    values: dict[str, Any] = {each.name: getattr(of, each.name) for each in fields(of)}
    cut: dict[str, Any] = {name: None if rows is None else rows[part] for name, rows in values.items()}
    return replace(of, **cut)


def _cat(parts: Sequence[Tensor | None]) -> Tensor | None:
    rows = [part for part in parts if part is not None]
    return torch.cat(rows) if rows else None


def _leaf(parts: Sequence[Tensor | None]) -> Tensor | None:
    """The rows of all parts as the start of a new graph."""
    whole = _cat(parts)
    return None if whole is None else whole.float().requires_grad_()
