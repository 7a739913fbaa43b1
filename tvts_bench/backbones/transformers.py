"""A vision or video model of the transformers library, from a folder with config.json and safetensors or from the Hub.

Which vector: `pooler` is the model's own pooled output, `cls` its first token, `mean` the mean of its patch tokens, all
after the last norm. Without a choice (`auto`) the first of these that the model has. Image models are averaged over
frames. A model of images and texts gives its encoder of images, not projected. Code from the Hub is never run.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tvts_bench.backbones import (
    Backbone,
    BackboneError,
    CheckpointSignature,
    ConfigReader,
    Family,
    ModelCard,
    NetworkBackbone,
    WeightSource,
    from_transformers,
)
from tvts_bench.backbones._conversion.folder import built_as_described, described_clip_spec, library_config
from tvts_bench.backbones.base import first_line, refuse_failing
from tvts_bench.errors import UserError, with_article
from tvts_bench.models.checkpoint import FOLDER_CONFIG, Checkpoint, CheckpointError
from tvts_bench.models.state_dict import LoadReport, misfits, refuse_values, without_prefixes
from tvts_bench.models.video_network import FrameAverage, FramesFirst
from tvts_bench.video.spec import ClipSpec

Pooling = Literal["pooler", "cls", "mean"]
POOLINGS: tuple[Pooling, ...] = ("pooler", "cls", "mean")
FIRST_TOKENS = ("cls_token", "class_embedding")  # what the library's networks call the token that stands for the whole
FOLLOWING = ("timesformer", "vjepa2")  # whose layers read the shape of a clip where the configuration had it
LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks|block)\.(\d+)\.")
NEEDED = "transformers needs a folder with config.json: --ckpt FOLDER or hf://OWNER/NAME"
VARIANTS = ("auto", *POOLINGS)
FRAMES = ("num_frames", "frames_per_clip")  # what configurations of video models call T
SIZES = ("image_size", "crop_size")
MISSING_SHARE, MISSING_NUMBERS = 4, 2**24  # of a network's numbers to a file's: poolers and tables need not be there
# Parts beside an encoder: heads, decoders, predictors, encoders of text. Names that encoders have are none of these.
OTHER_PARTS = re.compile(
    r"(?:\w+_)?(?:classifier|head|heads|decoder|predictor|projection|projector|projections|pooler|fc_norm|neck|mlm"
    r"|logit_scale|logit_bias|query_tokens|qformer|text_model|text_encoder|text_\w+|language_model|lm_\w+|mask_token"
    r"|encoder_to_decoder|qa_outputs|cls|mit|prompts_\w+|bert|image_newline)(?:\.|\d*$|\d*\.)"
    r"|(?:\w+\.)*(?:mask_token|position_ids)$"
)
CARD = ModelCard(
    title="transformers",
    what="any vision or video model of the transformers library; image models frame by frame, averaged",
    weights={"hf://OWNER/NAME": "https://huggingface.co/models (or a local folder with config.json and safetensors)"},
    licence="as the model's page says",
    supervised="as the model's page says",
    input="frames and pixels of config.json; resize, mean and deviation of preprocessor_config.json; centres of equal"
    " segments; 16 frames for image models",
    representation="the model's pooled output, else its first token, else the mean of its patch tokens",
    published=(),
    reference="Wolf et al., https://github.com/huggingface/transformers",
)


@dataclass(frozen=True)
class Description:
    """What is wanted of a model, and the library's classes of it."""

    variant: str
    config: Any = None
    kind: Any = None


class PooledModel(nn.Module):
    """`model`, pooled: by itself (`pooler`), by its first token (`cls`), or by the mean of patches (`mean`)."""

    def __init__(self, model: nn.Module, image_size: int, clip_spec: ClipSpec, *, takes_clips: bool) -> None:
        """Holds the model; `pooling` is chosen afterwards, of those in `possible`.

        Args:
            model: from pixels [N, 3, H, W] or [N, T, 3, H, W] to an output with `last_hidden_state`.
            image_size: pixels; positions of frames of another size are interpolated where the model can.
            clip_spec: its input.
            takes_clips: whether it is of videos, not of images.
        """
        super().__init__()
        self.model = model
        self.image_size = image_size
        self.clip_spec, self.takes_clips = clip_spec, takes_clips
        self.pooling: Pooling = "mean"
        names = [name.rpartition(".")[2] for name, _ in model.named_parameters()]
        self.has_first = any(name in FIRST_TOKENS for name in names)
        config: Any = model.config
        registers = getattr(config, "num_register_tokens", 0)
        self.num_prefix = self.has_first + ("distillation_token" in names) + (registers or 0)
        known = inspect.signature(model.forward).parameters
        self.interpolates = "interpolate_pos_encoding" in known
        self.follows_clips = config.model_type in FOLLOWING  # whether it has to be told their shape
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


def matches(signature: CheckpointSignature) -> bool:
    """Whether a config.json beside the weights names an architecture of the library."""
    return signature.config is not None and "model_type" in signature.config


def infer_config(reader: ConfigReader) -> Description:
    """The encoder that the config.json beside the weights describes.

    Raises:
        BackboneError: there is none, or the library does not know or cannot make it.
        CheckpointError: it describes another network than the weights are of.
    """
    checkpoint = reader.checkpoint
    if checkpoint.config is None:
        raise BackboneError(f"{NEEDED}; {checkpoint.path} has no config.json beside it")
    config = library_config(checkpoint)
    return Description(reader.variant or VARIANTS[0], config, _kind(checkpoint, config))


def without_file(described: Description, seed: int) -> tuple[nn.Module, WeightSource]:
    """Refuses: nothing tells which network is meant."""
    raise BackboneError(NEEDED)


def filled(described: Description, checkpoint: Checkpoint) -> tuple[nn.Module, WeightSource]:
    """The library's model of a folder with its weights, and what its input is.

    Raises:
        BackboneError: the input that the folder describes makes no sense.
        CheckpointError: the weights do not fit the architecture, by name or shape.
    """
    config = described.config
    model, report = _filled(checkpoint, config, described.kind)
    frames = next((value for name in FRAMES if (value := getattr(config, name, None))), None)
    size = next((value for name in SIZES if (value := getattr(config, name, None))), 224)
    size = size if isinstance(size, int) else max(size)
    spec = described_clip_spec(checkpoint.path.parent, image_size=size, num_frames=frames or 16)
    encoder = PooledModel(model, size, spec, takes_clips=frames is not None)
    checkpoint = built_as_described(checkpoint, encoder.follows_clips, False)
    return encoder, WeightSource(name=checkpoint.path.name, sha256=checkpoint.sha256, report=report)


def wrapped(encoder: PooledModel, variant: str, weights: WeightSource) -> Backbone:
    """The model, pooled as `variant` says, as a backbone.

    Args:
        encoder: the model.
        variant: of `VARIANTS`.
        weights: where its weights are from.

    Raises:
        BackboneError: it cannot be pooled so, or takes no clip of its own input.
    """
    spec, video = encoder.clip_spec, encoder.takes_clips
    embed_dim = _choose_pooling(encoder, variant, (spec.num_frames,) if video else (), spec.crop)
    network = FramesFirst(encoder) if video else FrameAverage(encoder)
    return NetworkBackbone(
        network=network,
        family="transformers",
        variant=encoder.pooling,
        embed_dim=embed_dim,
        clip_spec=spec,
        weights=weights,
        tokens=network.tokens,
        layer_of=network.layer_of if hasattr(encoder.model.config, "num_hidden_layers") else None,
        adaptations=partial(_adaptations, network, f"transformers:{encoder.pooling}", spec, video),
    )


def _choose_pooling(encoder: PooledModel, variant: str, frames: tuple[int, ...], crop: int) -> int:
    """Pool as asked, and say how wide the embedding is; tried on an image, or a video, of zeros."""
    pixels, kind = torch.zeros(1, *frames, 3, crop, crop), with_article(type(encoder.model).__name__)
    with torch.inference_mode():
        try:
            possible = encoder.possible(pixels)
        except Exception as error:  # a description may make a network that takes nothing
            shape = f"{frames[0] if frames else 1} frames of {crop} x {crop} pixels"
            raise BackboneError(
                f"{kind} fails for clips of {shape} ({first_line(error)}): fetch the folder anew"
            ) from error
        if variant not in (VARIANTS[0], *possible):
            raise BackboneError(f"{kind} has no {variant}: it has {', '.join(possible)}")
        encoder.pooling = next(pooling for pooling in possible if variant in (VARIANTS[0], pooling))
        return encoder(pixels).shape[1]  # type: ignore[no-any-return]


def _kind(checkpoint: Checkpoint, config: Any) -> Any:
    """The library's class for `config`, if it is of images or videos and no larger than the weights.

    Raises:
        BackboneError: the library cannot make it, or it takes something else.
        CheckpointError: most of its numbers are not in the file; said before memory is taken for them.
    """
    try:
        with torch.device("meta"):
            kind = from_transformers("MODEL_MAPPING")[type(config)]
            kind = kind[0] if isinstance(kind, tuple) else kind
            if not str(kind.main_input_name).startswith("pixel_values"):
                raise BackboneError(f"{checkpoint.path.parent}: a {config.model_type} takes no images or videos")
            model = from_transformers("AutoModel").from_config(config)
    except UserError:
        raise
    except Exception as error:
        raise BackboneError(f"transformers cannot make a {config.model_type} ({first_line(error)})") from error
    described = sum(each.numel() for each in (*model.parameters(), *model.buffers()))
    there = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    if described > MISSING_SHARE * there + MISSING_NUMBERS:
        raise CheckpointError(
            f"{checkpoint.path.parent / FOLDER_CONFIG} describes a {type(model).__name__} of {described:,} numbers,"
            f" {checkpoint.path.name} has {there:,}: they are not of one model, fetch the folder anew"
        )
    return type(model)


def _filled(checkpoint: Checkpoint, config: Any, kind: Any) -> tuple[nn.Module, LoadReport]:
    """The library's model with all of the tensors that it has a place for, translated as the library does it."""
    tensors = without_prefixes(checkpoint.tensors)
    cast = {name: tensor for name, tensor in tensors.items() if not _is_plain(tensor)}  # which the library would
    refuse_values(cast, {name: torch.zeros(()) for name in cast}, checkpoint.path)
    model, info = _loaded(kind, config, tensors)
    missing = sorted(info["missing_keys"])
    if missing and all(name.startswith("pooler.") for name in missing):
        model, info = _loaded(kind, config, tensors, add_pooling_layer=False)
        missing = sorted(info["missing_keys"])
    beside = sorted(info["unexpected_keys"])
    unknown = [name for name in beside if not OTHER_PARTS.match(name)]
    wrong = [str(each[0] if isinstance(each, tuple) else each) for each in info["mismatched_keys"]]
    if problems := misfits(missing, unknown, wrong):
        raise CheckpointError(f"{checkpoint.path} does not fit a {kind.__name__}: {problems}")
    state = model.state_dict()
    refuse_values(state, state, checkpoint.path)
    return model, LoadReport(format=f"transformers {config.model_type}", used=len(state), unexpected=tuple(beside))


def _is_plain(tensor: Tensor) -> bool:
    """Whether these are numbers as networks have them: floating-point, or counters and masks."""
    dense = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_quantized
    return dense and (tensor.element_size() > 1 or tensor.dtype == torch.bool)


def _loaded(kind: Any, config: Any, tensors: Mapping[str, Tensor], **options: Any) -> tuple[nn.Module, dict[str, Any]]:
    """The model in single precision, and what of the tensors did not fit."""
    with _quiet(), torch.random.fork_rng(devices=()):
        try:
            model, info = kind.from_pretrained(
                None,
                config=config,
                state_dict=dict(tensors),
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are reported, and refused by us
                dtype=torch.float32,
                **options,
            )
        except Exception as error:  # whatever a description makes the library do
            raise BackboneError(f"transformers cannot fill a {kind.__name__} ({first_line(error)})") from error
    return model.eval(), info


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bar and its own words on what did not fit."""
    logging = from_transformers("utils").logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _adaptations(network: nn.Module, name: str, own: ClipSpec, video: bool, clip: ClipSpec) -> tuple[str, ...]:
    """What another length or resolution than `own` changes; it is tried once."""
    frames = clip.num_frames if video else 1
    if clip.crop == own.crop and (not video or frames == own.num_frames):
        return ()
    refuse_failing(network, name, replace(clip, num_frames=frames))
    if clip.crop == own.crop:
        return (f"clips of {frames} frames in a network made for {own.num_frames}",)
    return (f"frames of {clip.crop} x {clip.crop} pixels in a network made for {own.crop} x {own.crop}",)


FAMILY = Family(
    name="transformers",
    card=CARD,
    sizes={name: Description(name) for name in VARIANTS},
    matches=matches,
    infer_config=infer_config,
    build=lambda described: from_transformers("AutoModel").from_config(described.config),
    variant_of=lambda sizes, described: described.variant,
    random=without_file,
    fill=filled,
    wrap=wrapped,
    fallback=True,
)
