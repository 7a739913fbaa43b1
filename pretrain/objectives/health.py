"""Signs that training has gone wrong. The trainer decides when to look and what to do."""

from torch import Tensor
from torch.nn import functional as F

from tvts_bench.errors import UserError

ALIKE = 0.999  # mean cosine between different rows from which embeddings count as collapsed


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
    return bool((total @ total - count) / (count * (count - 1)) > ALIKE)
