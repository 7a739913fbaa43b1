"""One clip of zeros through a network, to learn whether it takes clips that it was not made for."""

import torch
from torch import nn

from tvts_bench.backbones.base import BackboneError


def refuse_what_fails(network: nn.Module, name: str, frames: int, crop: int) -> None:
    """Nothing, where `network` takes a clip [1, 3, frames, crop, crop].

    Raises:
        BackboneError: it does not; with what it said, and the way out. `name` is family:variant.
    """
    device = next((tensor.device for tensor in network.state_dict().values()), torch.device("cpu"))
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, frames, crop, crop, device=device))
    except Exception as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BackboneError(
            f"backbone {name} cannot take clips of {frames} frames of {crop} x {crop} pixels ({said}):"
            " leave its own input as it is"
        ) from error
