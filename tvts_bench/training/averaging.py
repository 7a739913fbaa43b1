"""The weights that are measured: those of the last step, or timm's moving average of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from tvts_bench import torchvision_ops  # noqa: F401 - before timm

from timm.utils.model_ema import ModelEmaV3  # isort: skip


class MeasuredWeights:
    """Keeps the average of a module's weights where a decay is given; without one it is the module's own weights."""

    def __init__(self, module: nn.Module, decay: float | None) -> None:
        self.module = module
        self._average = ModelEmaV3(module, decay=decay) if decay is not None else None

    def update(self) -> None:
        """Take a step's weights into the average."""
        if self._average is not None:
            self._average.update(self.module)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The measured weights in the module; its own come back."""
        if self._average is None:
            yield
            return
        own = {name: tensor.clone() for name, tensor in self.module.state_dict().items()}
        self.settle()
        try:
            yield
        finally:
            self.module.load_state_dict(own)

    def settle(self) -> None:
        """Leave the measured weights in the module."""
        if self._average is not None:
            self.module.load_state_dict(self._average.module.state_dict())

    def state(self) -> dict[str, Any] | None:
        """The average, for `restore`; None without one."""
        return None if self._average is None else self._average.module.state_dict()

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on with what `state` returned."""
        if self._average is not None and state is not None:
            self._average.module.load_state_dict(state)
