"""What a folder's JSON files say beside its weights: of the network, what tensors cannot tell, and of the input.

Shapes leave open how many heads there are and, where positions are computed, which clips the network is for.
"""

import difflib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tvts_bench.backbones.base import BackboneError, first_line, from_transformers
from tvts_bench.errors import UserError, with_article
from tvts_bench.models.checkpoint import FOLDER_CONFIG, INPUT_FILES, Checkpoint, CheckpointError
from tvts_bench.models.foreign_config import TIMM_KINDS, refuse_parts_elsewhere, refuse_sizes
from tvts_bench.provenance import digest
from tvts_bench.video.spec import IMAGENET_MEAN, IMAGENET_STD, ClipSpec, Interpolation

logger = logging.getLogger(__name__)

VERSION = 1  # raised when networks that a config.json describes are built otherwise
NESTED = ("video_processor", "image_processor")  # parts of processor_config.json
BILINEAR = 2  # as PIL counts resampling filters
Channels = tuple[float, float, float]


class FolderConfig:
    """The part of a config.json that describes the network."""

    def __init__(self, checkpoint: Checkpoint, described: Mapping[str, Any]) -> None:
        """Refuses sizes that no network has.

        Args:
            checkpoint: of the folder.
            described: its config, or the part of it that describes the encoder.

        Raises:
            CheckpointError: with the key and its value.
        """
        self.folder = checkpoint.path.parent
        self.path = self.folder / FOLDER_CONFIG
        self._values = described
        refuse_sizes(described, self.path)

    def get(self, keys: Sequence[str], default: Any) -> Any:
        """The value of the first of `keys` that is there, of the type of `default`; else `default`.

        Raises:
            CheckpointError: a value of another type.
        """
        for key in keys:
            value = self._values.get(key)
            if isinstance(value, list) and len(set(map(str, value))) == 1:
                value = value[0]  # height and width of a square
            if value is None:
                continue
            number = isinstance(default, float) and isinstance(value, int | float)
            if not (number or isinstance(value, type(default))) or isinstance(value, bool) != isinstance(default, bool):
                expected = {int: "a whole number", float: "a number", str: "a name"}.get(type(default), "true or false")
                raise CheckpointError(f"{self.path} has {key} = {value!r}, expected {expected}")
            return value
        return default

    def require(self, keys: Sequence[str], value: Any, why: str = "as the tensors beside it have it") -> None:
        """Nothing where none of `keys` is there, or the first that is has this value.

        Args:
            keys: names that libraries have for the same.
            value: the only one that is right.
            why: said behind it.

        Raises:
            CheckpointError: it has another.
        """
        if (stated := self.get(keys, value)) != value:
            key = next(key for key in keys if self._values.get(key) is not None)
            raise CheckpointError(f"{self.path} has {key} = {stated!r}, expected {value!r}, {why}")

    def clip_spec(self, own: ClipSpec) -> ClipSpec:
        """`own`, the clips of the network, with pixels as the folder's processor makes them.

        Raises:
            BackboneError: the processor's description cannot be read, or describes what cannot be done here.
        """
        if not any((self.folder / name).is_file() for name in INPUT_FILES):
            return own
        spec = described_clip_spec(self.folder, image_size=own.crop, num_frames=own.num_frames)
        if spec.crop != own.crop:
            logger.warning(
                "%s makes frames of %d pixels for a network of %d, which are taken", self.folder, spec.crop, own.crop
            )
            spec = replace(spec, crop=own.crop, short_side=max(own.short_side, own.crop))
        return replace(spec, sampling=own.sampling, position=own.position, stride=own.stride)


def library_config(checkpoint: Checkpoint) -> Any:
    """The transformers library's configuration of the encoder of images or videos that config.json describes.

    Raises:
        BackboneError: the library does not know the architecture, or the description makes no sense to it.
        CheckpointError: it has sizes that no network has, or parts that lie elsewhere.
    """
    described, path = dict(checkpoint.config or {}), checkpoint.path.parent / FOLDER_CONFIG
    refuse_sizes(described, path)
    known, kind = from_transformers("CONFIG_MAPPING"), described.get("model_type")
    if kind in TIMM_KINDS:
        raise BackboneError(f"{path} describes a network of timm: --backbone timm:NAME loads it")
    refuse_parts_elsewhere(described, path)
    if not isinstance(kind, str) or kind not in known:
        close = difflib.get_close_matches(str(kind), list(known.keys()))
        hint = f"; close: {', '.join(close)}" if close else ""
        raise BackboneError(
            f"{checkpoint.path.parent}: this version of transformers has no architecture {kind!r}{hint}"
            " (code that comes with a model is not run)"
        )
    try:
        config = known[kind].from_dict(described)
    except Exception as error:
        raise BackboneError(
            f"{checkpoint.path.parent}: config.json does not describe a {kind} ({first_line(error)}): fetch it anew"
        ) from error
    return getattr(config, "vision_config", None) or config


def built_as_described(checkpoint: Checkpoint, stated: object, assumed: object) -> Checkpoint:
    """`checkpoint`, with an identity of its own where its config.json makes another network of the same tensors.

    Args:
        checkpoint: of a folder.
        stated: the network that its config.json describes.
        assumed: the network that its tensors alone would be taken for.
    """
    if stated == assumed:
        return checkpoint
    sha256 = digest({"weights": checkpoint.sha256, "network": repr(stated), "version": VERSION})
    return replace(checkpoint, sha256=sha256, files=checkpoint.files or {checkpoint.path.name: checkpoint.sha256})


def described_clip_spec(folder: Path, *, image_size: int, num_frames: int) -> ClipSpec:
    """`num_frames` frames, cut and normalised as the folder's processor does it.

    Args:
        folder: with the weights; without a description there, ImageNet's mean and deviation are assumed, which is said.
        image_size: pixels, where the description does not say.
        num_frames: T.

    Raises:
        BackboneError: the description cannot be read, or describes what cannot be done here.
    """
    described = _description(folder)
    if described is None:
        logger.warning("%s has no %s: ImageNet's mean and deviation are assumed", folder, INPUT_FILES[1])
        return ClipSpec(num_frames=num_frames, short_side=image_size, crop=image_size)
    try:
        crop, short_side, squash = _sizes(described, folder, image_size)
        mean, std = _normalisation(described)
    except UserError:
        raise
    except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise BackboneError(f"{folder} describes an input that makes no sense ({error}): fetch it anew") from error
    interpolation: Interpolation = "bilinear" if described.get("resample", BILINEAR) == BILINEAR else "bicubic"
    return ClipSpec(
        num_frames=num_frames,
        short_side=short_side,
        crop=crop,
        resize="squash" if squash else "short_side",
        interpolation=interpolation,
        mean=mean,
        std=std,
    )


def _description(folder: Path) -> Mapping[str, Any] | None:
    for path in (folder / name for name in INPUT_FILES if (folder / name).is_file()):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise BackboneError(f"{path} cannot be read ({error}): fetch the folder anew") from error
        if isinstance(content, dict):
            return next((content[part] for part in NESTED if isinstance(content.get(part), dict)), content)
        raise BackboneError(
            f"{path} holds {with_article(type(content).__name__)}, expected an object: fetch the folder anew"
        )
    return None


def _sizes(described: Mapping[str, Any], folder: Path, image_size: int) -> tuple[int, int, bool]:
    """Crop, side that is resized to before it, and whether the aspect ratio is squashed."""
    size, crops = described.get("size"), bool(described.get("do_center_crop"))
    if isinstance(size, int):  # older files: the short side where something is cropped from it
        size = {"shortest_edge": size} if crops else {"height": size, "width": size}
    size = size or {"height": image_size, "width": image_size}
    crop = _square(described.get("crop_size"), folder) if crops else None
    if short := size.get("shortest_edge"):
        if crop is None and described.get("crop_pct"):  # ConvNeXt: resized to more than it is cropped to
            return short, int(short / described["crop_pct"]), False
        return min(crop or image_size, short), short, False
    side = _square(size, folder)
    assert side is not None
    return min(crop or side, side), side, True


def _square(size: Any, folder: Path) -> int | None:
    """The side of a square that is given as a number or as height and width."""
    if size is None or isinstance(size, int):
        return size
    sides = {size.get("height"), size.get("width")} if isinstance(size, Mapping) else set()
    if len(sides) != 1 or not isinstance(side := sides.pop(), int):
        raise BackboneError(f"{folder} describes an input of {size!r}; only square frames are cut here")
    return side


def _normalisation(described: Mapping[str, Any]) -> tuple[Channels, Channels]:
    """Mean and deviation of values in 0..1 that give what the processor's scale, offset and normalisation give."""
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if described.get("do_normalize", True):
        mean = tuple(described.get("image_mean") or IMAGENET_MEAN)
        std = tuple(described.get("image_std") or IMAGENET_STD)
    scale = 255 * (described.get("rescale_factor") or 1 / 255) if described.get("do_rescale", True) else 255.0
    offset = 1.0 if described.get("offset") else 0.0
    red, green, blue = (round((each + offset) / scale, 9) for each in mean)
    r, g, b = (round(each / scale, 9) for each in std)
    return (red, green, blue), (r, g, b)
