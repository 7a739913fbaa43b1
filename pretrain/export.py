"""A run's weights as files for others: the encoder alone, or all of TVTS in the layout of the official checkpoint."""

import logging
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from pretrain.config import RunConfig
from pretrain.yaml_config import plain
from tvts_bench.errors import UserError
from tvts_bench.models.checkpoint import load_strictly
from tvts_bench.models.saving import save_backbone, save_pickled
from tvts_bench.models.vit import VideoTransformer

Format = Literal["safetensors", "official"]
FORMATS: tuple[Format, ...] = ("safetensors", "official")
SUFFIXES = {"safetensors": ".safetensors", "official": ".pth"}
ENCODER, ADAPTER = "video_model.", "txt_adapter."

logger = logging.getLogger(__name__)


def export(path: Path, format: Format, config: RunConfig, model: dict[str, Tensor], step: int) -> Path:
    """Write the weights of a run to a file; one that is there is replaced whole.

    `safetensors` holds the video encoder, as `tvts-bench --ckpt` reads it. `official` holds all parts under the keys
    of the official TVTS code (`module.video_model.*`, `module.text_model.*`, `module.txt_proj.1.*`,
    `module.vid_proj.0.*`, `module.pred_model.*`) with plain values beside them. It is a TVTS checkpoint to the official
    code only where the sizes are the paper's and the sorter is k_way. `txt_adapter`, which a run has where its text
    encoder's width is not the video encoder's, has no place in that layout and is left out, with a warning.

    Args:
        path: the file.
        format: of it.
        config: of the run.
        model: a TVTS state dict.
        step: at which it was that.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path.parent}: {error.strerror}") from error
    if format == "official":
        _write_official(path, config, model, step)
        return path
    encoder = VideoTransformer.empty(config.video)
    tensors = {name.removeprefix(ENCODER): tensor for name, tensor in model.items() if name.startswith(ENCODER)}
    load_strictly(encoder, tensors, "the run's state")
    objective = f"L_base {'on' if config.objective.align else 'off'}, sort {config.objective.sort}"
    metadata = {"step": str(step), "config_digest": config.digest, "seed": str(config.seed), "objective": objective}
    save_backbone(path, encoder, metadata)
    return path


def _write_official(path: Path, config: RunConfig, model: dict[str, Tensor], step: int) -> None:
    left_out = [name for name in model if name.startswith(ADAPTER)]
    if left_out:
        logger.warning(
            "%s lacks %s, which the official layout has no place for: both encoders and projections are whole, but the "
            "sorter does not read this text encoder without it; to train on, give init.checkpoint=checkpoints/last.pt",
            path,
            ADAPTER.rstrip("."),
        )
    content: dict[str, Any] = {
        "arch": "TVTS",
        "epoch": step,  # the official trainer counts epochs; runs here are counted in steps
        "state_dict": {
            f"module.{name}": tensor.detach().cpu() for name, tensor in model.items() if name not in left_out
        },
        "optimizer": {},
        "monitor_best": 0.0,
        "config": plain(config),
    }
    try:
        save_pickled(path, content)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
