"""The transformers library, imported only where one of its networks is wanted: its import takes seconds.

And its vision and video models, pooled to one vector.
"""

import inspect
import re
from importlib import import_module
from typing import Any, Literal

from torch import Tensor, nn

from tvts_bench import torchvision_ops  # noqa: F401 - transformers imports torchvision
from tvts_bench.errors import UserError

INPUT_FILES = ("video_preprocessor_config.json", "preprocessor_config.json", "processor_config.json")
"""Where a folder of the library describes a model's input, beside the weights; the first that is there counts."""

Pooling = Literal["pooler", "cls", "mean"]
POOLINGS: tuple[Pooling, ...] = ("pooler", "cls", "mean")
FIRST_TOKENS = ("cls_token", "class_embedding")  # what the library's networks call the token that stands for the whole
FOLLOWING = ("timesformer", "vjepa2")  # whose layers read the shape of a clip where the configuration had it
LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks|block)\.(\d+)\.")


def from_transformers(name: str) -> Any:
    """The class `name` of the transformers library.

    Raises:
        UserError: it is not installed, or has no such class; with the command that helps.
    """
    try:
        library = import_module("transformers")
    except ImportError as error:
        raise UserError(
            f"this network needs the library transformers, which cannot be imported ({error}): pip install transformers"
        ) from error
    if not hasattr(library, name):
        raise UserError(f"transformers {library.__version__} has no {name}: pip install --upgrade transformers")
    return getattr(library, name)


class PooledModel(nn.Module):
    """`model`, pooled: by itself (`pooler`), by its first token (`cls`), or by the mean of patches (`mean`)."""

    def __init__(self, model: nn.Module, image_size: int) -> None:
        """Holds the model; `pooling` is chosen afterwards, of those in `possible`.

        Args:
            model: from pixels [N, 3, H, W] or [N, T, 3, H, W] to an output with `last_hidden_state`.
            image_size: pixels; positions of frames of another size are interpolated where the model can.
        """
        super().__init__()
        self.model = model
        self.image_size = image_size
        self.pooling: Pooling = "mean"
        names = [name.rpartition(".")[2] for name, _ in model.named_parameters()]
        self.has_first = any(name in FIRST_TOKENS for name in names)
        registers = getattr(model.config, "num_register_tokens", 0)
        self.num_prefix = self.has_first + ("distillation_token" in names) + (registers or 0)
        known = inspect.signature(model.forward).parameters
        self.interpolates = "interpolate_pos_encoding" in known
        self.options = {"skip_predictor": True} if "skip_predictor" in known else {}

    def forward(self, pixels: Tensor) -> Tensor:
        """Embeddings [N, D]."""
        output = self._output(pixels)
        if self.pooling == "pooler":
            return output.pooler_output.flatten(1)  # type: ignore[no-any-return]
        hidden: Tensor = output.last_hidden_state
        return hidden[:, 0] if self.pooling == "cls" else self._patches(hidden).mean(dim=1)

    def patch_tokens(self, pixels: Tensor) -> Tensor:
        """Patch tokens [N, P, D]."""
        return self._patches(self._output(pixels).last_hidden_state)

    def possible(self, pixels: Tensor) -> tuple[Pooling, ...]:
        """The ways to pool that the model allows, the library's own before the others; tried on `pixels`."""
        pools = getattr(self._output(pixels), "pooler_output", None) is not None
        allowed = {"pooler": pools, "cls": self.has_first, "mean": True}
        return tuple(pooling for pooling in POOLINGS if allowed[pooling])

    def layer_of(self, name: str) -> int:
        """Depth of the parameter `name`: 0 for embeddings, i + 1 for layer i, one more for what follows."""
        if match := LAYER.search(name):
            return int(match[1]) + 1
        depth = int(self.model.config.num_hidden_layers)  # type: ignore[union-attr,arg-type]
        return 0 if "embeddings." in name else depth + 1

    @property
    def follows_clips(self) -> bool:
        """Whether the model has to be told the shape of the clips that it is given."""
        config: Any = self.model.config
        return config.model_type in FOLLOWING

    def _follow(self, frames: int, size: int) -> None:
        """Have the model take clips of that shape, as if its configuration had always said so."""
        config: Any = self.model.config
        if config.model_type == "timesformer":
            config.num_frames, config.image_size = frames, size
        else:
            for layer in self.model.encoder.layer:  # type: ignore[union-attr]
                layer.attention.grid_size = size // config.patch_size

    def _output(self, pixels: Tensor) -> Any:
        if self.follows_clips:
            self._follow(pixels.shape[1], pixels.shape[-1])
        options = dict(self.options)
        if self.interpolates and pixels.shape[-1] != self.image_size:
            options["interpolate_pos_encoding"] = True
        return self.model(**{str(self.model.main_input_name): pixels}, **options)

    def _patches(self, hidden: Tensor) -> Tensor:
        if hidden.ndim == 4:  # the maps of a convolutional network, [N, D, H, W]
            return hidden.flatten(2).transpose(1, 2)
        return hidden[:, self.num_prefix :]


class VideoModel(nn.Module):
    """A pooled video model under our layout of clips."""

    def __init__(self, encoder: PooledModel) -> None:
        """Holds `encoder`, which takes clips [B, T, 3, H, W]."""
        super().__init__()
        self.encoder = encoder

    def forward(self, clips: Tensor) -> Tensor:
        """Embeddings [B, D] of clips [B, 3, T, H, W]."""
        return self.encoder(clips.transpose(1, 2))  # type: ignore[no-any-return]

    def tokens(self, clips: Tensor) -> Tensor:
        """Patch tokens [B, N, D] of clips [B, 3, T, H, W]."""
        return self.encoder.patch_tokens(clips.transpose(1, 2))

    def layer_of(self, name: str) -> int:
        """Depth of the parameter `name`."""
        return self.encoder.layer_of(name)
