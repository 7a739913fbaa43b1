"""Networks without a tensor at its initial value, and files in which one tensor is not what it should be."""

from pathlib import Path

import torch
from torch import Tensor, nn

CHANGES = ("renamed", "missing", "transposed")


def trained(network: nn.Module, seed: int = 0) -> nn.Module:
    """`network`, every floating-point tensor moved by something random, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                noise = 0.05 * torch.randn(tensor.shape, generator=generator)
                tensor.add_(noise.abs() if name.endswith("running_var") else noise)
    return network.eval()


def altered(state: dict[str, Tensor], name: str, change: str) -> dict[str, Tensor]:
    """`state` with the tensor `name` renamed, left out, or with its first two (unlike) dimensions swapped."""
    assert state[name].shape[0] != state[name].shape[1]
    rest = {key: tensor for key, tensor in state.items() if key != name}
    if change == "missing":
        return rest
    return rest | (
        {f"{name}_": state[name]} if change == "renamed" else {name: state[name].transpose(0, 1).contiguous()}
    )


def clips(frames: int = 3, size: int = 32, batch: int = 2) -> Tensor:
    """Clips [batch, 3, frames, size, size] of noise, the same each time."""
    return torch.randn(batch, 3, frames, size, size, generator=torch.Generator().manual_seed(0))


def saved(path: Path, value: object) -> Path:
    """`path`, with `value` in it as `torch.save` writes it."""
    torch.save(value, path)
    return path
