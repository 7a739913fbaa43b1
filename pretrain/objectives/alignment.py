"""L_base: clips and transcripts of the same moment are each other's nearest (symmetric InfoNCE, cosine similarity)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tvts_bench.errors import UserError


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
