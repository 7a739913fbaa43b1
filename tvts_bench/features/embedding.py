"""Vectors from clips on the device: batches, precision, views."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tvts_bench.backbones.base import Backbone, as_embedding
from tvts_bench.devices import is_out_of_memory
from tvts_bench.errors import UserError
from tvts_bench.features.base import Dtype
from tvts_bench.provenance import versions
from tvts_bench.runtime import Runtime
from tvts_bench.video.spec import ClipSpec
from tvts_bench.video.transforms import normalise

TORCH_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Embedder:
    """Collects clips and embeds them as soon as a batch is full. A batch never spans two calls of `finish`."""

    def __init__(self, backbone: Backbone, clip: ClipSpec, *, dtype: Dtype, runtime: Runtime, at_most: int) -> None:
        """Take no memory yet.

        Args:
            backbone: Embeds clips.
            clip: What they are.
            dtype: Precision of the forward pass.
            runtime: Device, and size of a batch.
            at_most: Clips between two calls of `finish`; no memory is taken for more.
        """
        self.backbone, self.clip, self.dtype = backbone, clip, TORCH_DTYPES[dtype]
        self.device, self.batch_size = torch.device(runtime.device), runtime.batch_size
        self._clips = max(1, min(self.batch_size // clip.num_views, at_most))  # whole clips in the staging memory
        self._staged: Tensor | None = None  # uint8 [clips, views, 3, T, crop, crop]
        self._count = 0
        self._done: list[Tensor] = []  # float32 [B, D] each, on the device: copying them here would wait for it

    @property
    def description(self) -> str:
        """What can change the last bits of an embedding: the kind of device, the batch size, the versions."""
        packages = (f"{name} {versions()[name]}" for name in ("torch", "torchvision", "timm") if name in versions())
        return ", ".join((self.device.type, f"batches of {self.batch_size}", *packages))

    def add(self, pixels: Tensor) -> None:
        """Take a copy of one clip's pixels, uint8 [views, 3, T, crop, crop].

        Raises:
            UserError: The device's memory does not hold a batch.
            BackboneError: The backbone does not return [B, embed_dim].
        """
        if self._staged is None:
            shape = (self._clips, *pixels.shape)
            with self._memory():
                self._staged = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        self._staged[self._count].numpy()[...] = pixels.numpy()  # torch's copy would wake its threads for each clip
        self._count += 1
        if self._count == self._clips:
            self._embed()

    def finish(self) -> NDArray[np.float32]:
        """Embeddings [N, D], float32, of the N clips added since the last call, in order."""
        self._embed()
        done, self._done = self._done, []
        with self._memory():
            values: NDArray[np.float32] = (
                torch.cat(done).cpu().numpy() if done else np.empty((0, self.backbone.embed_dim), np.float32)
            )
        return values

    def _embed(self) -> None:
        if self._staged is None or not self._count:
            return
        staged, self._staged = self._staged[: self._count], None  # its copy to the device may still be under way
        self._count = 0
        with self._memory():
            views = [self._forward(batch) for batch in staged.flatten(0, 1).split(self.batch_size)]
            self._done.append(torch.cat(views).unflatten(0, staged.shape[:2]).mean(dim=1))  # [clips, views, D] -> mean

    def _memory(self) -> AbstractContextManager[None]:
        what = f"{self.device} has not enough memory for --batch-size {self.batch_size}"
        return _fitting(what, "choose a smaller --batch-size")

    @torch.inference_mode()
    def _forward(self, clips: Tensor) -> Tensor:
        """Float32 [B, D] of uint8 [B, 3, T, crop, crop]."""
        reduced = self.dtype != torch.float32
        with (
            torch.autocast(self.device.type, dtype=self.dtype, enabled=reduced),
            # cuDNN's defaults choose algorithms by timing them and round fp32 convolutions to TF32.
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False),
        ):
            on_device = clips.to(self.device, non_blocking=True)
            output = self.backbone(normalise(on_device, self.clip.mean, self.clip.std, self.dtype))
        return as_embedding(output, self.backbone, len(clips)).float()


@contextmanager
def _fitting(what: str, way_out: str) -> Iterator[None]:
    """The device's or the machine's want of memory as one sentence."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise UserError(f"{what}: {way_out}") from error
        raise


@contextmanager
def evaluating(backbone: Backbone, device: str) -> Iterator[None]:
    """The backbone on the device and in evaluation mode; its mode is restored at the end."""
    training = backbone.training
    with _fitting(f"{device} has not enough memory for backbone {backbone.family}", "choose another with --device"):
        backbone.to(device).eval()
    try:
        yield
    finally:
        backbone.train(training)
