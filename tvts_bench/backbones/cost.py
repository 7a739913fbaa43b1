"""What a backbone takes: parameters, and multiply-adds for one clip, counted without computing anything."""

import logging
from typing import Any

import torch
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from tvts_bench.backbones.base import Backbone
from tvts_bench.video.spec import ClipSpec

logger = logging.getLogger(__name__)


def cost_of(backbone: Backbone, clip: ClipSpec) -> dict[str, Any]:
    """For the record of a run; never part of its key.

    Args:
        backbone: on any device; it is not changed.
        clip: its input.

    Returns:
        `parameters` (of the module as it is measured), and `gmacs_per_clip`: 1e9 multiply-adds of matrix products and
        convolutions for all views of one clip, None where the network does not run on shapes alone.
    """
    return {
        "parameters": sum(parameter.numel() for parameter in backbone.parameters()),
        "gmacs_per_clip": _gmacs(backbone, clip),
    }


def _gmacs(backbone: Backbone, clip: ClipSpec) -> float | None:
    """Counted in a forward pass on the meta device, whose tensors have shapes and no values."""
    tensors = (*backbone.named_parameters(), *backbone.named_buffers())
    on_meta = {name: tensor.detach().to("meta") for name, tensor in tensors}
    clips = torch.empty(1, 3, clip.num_frames, clip.crop, clip.crop, device="meta")
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            functional_call(backbone, on_meta, (clips,))
    except (RuntimeError, NotImplementedError, ValueError, TypeError) as error:  # a network may look at values
        logger.info("multiply-adds of %s are not counted: %s", backbone.family, error)
        return None
    finally:
        backbone.train(training)
    return float(counter.get_total_flops() / 2e9 * clip.num_views)
