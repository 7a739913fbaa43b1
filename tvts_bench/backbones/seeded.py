"""Networks initialised from a seed alone: the control that every trained backbone is compared with."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from tvts_bench.backbones.base import WeightSource, tensors_sha256
from tvts_bench.models.checkpoint import CheckpointMismatchError, refuse_misfit

Network = TypeVar("Network", bound=nn.Module)


def seeded(build: Callable[[], Network], seed: int) -> Network:
    """What `build` makes on the CPU when torch's random numbers start from `seed`, in evaluation mode.

    The global random state is as it was before, whatever `build` draws; other devices' states are not touched.
    """
    with torch.random.fork_rng(devices=()), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs, too
        return build().eval()


def unfilled(build: Callable[[], Network], tensors: Mapping[str, Tensor], source: Path) -> Network:
    """What `build` makes on the CPU for `tensors` of the file `source`, which are loaded right after.

    Nothing is drawn that they replace. Tensors that no file holds (tables that a network computes for itself) are as
    `build` makes them.

    Raises:
        CheckpointMismatchError: they do not fit. Said before memory is taken, of which an odd file may ask for any.
    """
    with torch.device("meta"):
        try:
            network = build()
        except RuntimeError as error:  # more bytes than can be counted
            raise CheckpointMismatchError(f"{source} tells of a network that no memory holds ({error})") from error
    refuse_misfit(network, tensors, source)
    if {name for name, _ in network.named_buffers()} - network.state_dict().keys():
        return seeded(build, 0)
    return network.to_empty(device="cpu").eval()


def random_source(network: nn.Module, seed: int) -> WeightSource:
    """The record of weights that `seeded` made: hashed, since libraries may change how they initialise."""
    return WeightSource(name=f"random init (seed {seed})", sha256=tensors_sha256(network))
