"""A config.json from elsewhere, made harmless: it describes a network, and may not say what is fetched or imported.

Libraries read more from it than the network's shape: where code lies that they import, which repository has a kernel
that they fetch and load, with which other library the weights were quantised. None of it is wanted here.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tvts_bench.errors import with_article
from tvts_bench.models.unpickling import CheckpointError

FETCHING = frozenset(
    (
        *("auto_map", "custom_pipelines", "trust_remote_code"),  # code of the repository's own
        *("attn_implementation", "experts_implementation"),  # may name a repository of kernels
        *("use_kernels", "kernel_config", "allow_all_kernels", "fusion_config"),
        *("name_or_path", "base_model_name_or_path", "code_revision", "gguf_file", "transformers_weights"),
        *("adapter", "adapters", "adapter_kwargs", "peft_config", "peft_type"),  # of other repositories
        *("use_timm_backbone", "use_pretrained_backbone", "backbone_kwargs"),
        *("device_map", "tp_plan", "base_model_tp_plan", "base_model_pp_plan", "distributed_config"),  # of a machine
        *("output_attentions", "output_hidden_states", "return_dict", "use_return_dict", "torchscript"),  # of a caller
        *("dtype", "torch_dtype"),  # everything is computed in the precision that is asked for
        *("checkpoint_path", "cache_dir", "pretrained", "pretrained_cfg_overlay", "pretrained_strict"),  # timm's
        *("custom_load", "hf_hub_id", "hf_hub_filename", "url", "file", "state_dict", "source"),
    )
)
"""Keys that libraries fetch, import, place or answer by, at any depth; and so are all that begin with an underscore."""
QUANTISED = ("quantization_config", "compression_config")
TIMM_KINDS = ("timm_wrapper", "timm_backbone")  # of transformers: timm's networks by name, or by repository
LAYERS = re.compile(r"(?:^|_)(?:n_layers?|num_layers|layers|depths?|num_stages|num_blocks|num_hidden_layers)$")
POSITIVE = frozenset(
    (
        *("hidden_size", "embed_dim", "intermediate_size", "num_attention_heads", "num_heads", "num_channels"),
        *("patch_size", "image_size", "img_size", "crop_size", "num_frames", "frames_per_clip"),
        *("tubelet_size", "hidden_sizes"),
    )
)
MAX_LAYERS, MAX_NUMBER, MAX_SIDE, MAX_TOKENS = 1_000, 2**20, 8_192, 2**18
SIDES = ("image_size", "crop_size", "img_size")
FREE = re.compile(r"token|theta|seed|vocab|label|param|flops|steps")  # keys whose numbers size no network


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        CheckpointError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): fetch the folder anew") from error
    if not isinstance(content, dict):
        kind = with_article(type(content).__name__)
        raise CheckpointError(f"{path} holds {kind}, expected an object: fetch the folder anew")
    return content


def without_fetching(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """`config` without the keys, at any depth, that would make a library fetch or import something.

    Raises:
        CheckpointError: the weights are quantised, or the object is nested too deeply.
    """
    try:
        for _, described in _objects(config):
            _refuse_quantised(described, path)
        cleaned: dict[str, Any] = _cleaned(config)
    except RecursionError as error:
        raise CheckpointError(f"{path} cannot be read (nested too deeply): fetch the folder anew") from error
    return cleaned


def refuse_parts_elsewhere(config: Mapping[str, Any], path: Path) -> None:
    """Nothing where the whole network is described, and no part of it by a name that a library would look up.

    Raises:
        CheckpointError: it names a backbone on the Hub, or one of timm's networks as a part.
    """
    for parents, described in _objects(config):
        kind, name = described.get("model_type"), described.get("backbone")
        if isinstance(name, str) or kind in TIMM_KINDS:
            part = f"{kind} {_short(name or described.get('architecture'))}"
            where = f" under {'.'.join(parents)}" if parents else ""
            raise CheckpointError(
                f"{path} names a part of its network{where} ({part}): nothing is fetched for one here"
            )


def refuse_sizes(config: Mapping[str, Any], path: Path) -> None:
    """Nothing where the numbers in `config` may be a network's; said before a library takes memory or time for them.

    Raises:
        CheckpointError: one is not finite, or of a size that no network has.
    """
    for parents, described in _objects(config):
        for key, value in described.items():
            if isinstance(value, Mapping):
                continue
            for number in value if isinstance(value, list) else (value,):
                if expected := _expected(key, number):
                    raise CheckpointError(
                        f"{path} has {'.'.join((*parents, key))} = {_short(value)}, expected {expected}:"
                        " fetch the folder anew"
                    )
        if (tokens := _tokens(described)) > MAX_TOKENS:
            raise CheckpointError(
                f"{path} describes clips of {tokens:,} patches ({', '.join(f'{k} = {v}' for k, v in _clip(described))}"
                f"), expected at most {MAX_TOKENS:,}: fetch the folder anew"
            )


def _objects(config: Mapping[str, Any], parents: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The object and those nested in it, each with the keys that lead there."""
    yield parents, config
    for key, value in config.items():
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, Mapping):
                yield from _objects(each, (*parents, str(key)))


def _refuse_quantised(described: Mapping[str, Any], path: Path) -> None:
    for key in QUANTISED:
        if value := described.get(key):
            method = value.get("quant_method") if isinstance(value, Mapping) else None
            raise CheckpointError(
                f"{path} says that the weights are quantised ({method or key}), which changes their values and needs a"
                " library that is not used here: get the weights that they were made from"
            )


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: each for key, each in value.items() if not key.startswith("_")}
        return {key: _cleaned(each) for key, each in kept.items() if key not in (*FETCHING, *QUANTISED)}
    return [_cleaned(each) for each in value] if isinstance(value, list) else value


def _expected(key: str, number: object) -> str | None:
    """What `number` should be as the value of `key`, where it is something else."""
    numeric = isinstance(number, int | float) and not isinstance(number, bool)
    if numeric and not math.isfinite(number):  # type: ignore[arg-type]
        return "a finite number"
    layers = LAYERS.search(key) and numeric
    if layers and (not isinstance(number, int) or not 0 <= number <= MAX_LAYERS):
        return f"a whole number of 0 to {MAX_LAYERS:,}"
    if key in POSITIVE and number is not None:
        most = MAX_SIDE if key in SIDES else MAX_NUMBER
        if not numeric or number != int(number) or not 1 <= number <= most:  # type: ignore[operator,call-overload]
            return f"a whole number of 1 to {most:,}"
    if isinstance(number, int) and abs(number) > MAX_NUMBER and not FREE.search(key):
        return f"a number of at most {MAX_NUMBER:,}"
    return None


def _clip(described: Mapping[str, Any]) -> list[tuple[str, Any]]:
    keys = (*SIDES, "num_frames", "frames_per_clip", "patch_size", "tubelet_size")
    return [(key, described[key]) for key in keys if described.get(key) is not None]


def _tokens(described: Mapping[str, Any]) -> int:
    """Patches of a clip as described; 0 where it is not."""

    def number(*keys: str) -> int:
        value = next((described[key] for key in keys if described.get(key)), 0)
        value = max(value, default=0) if isinstance(value, list) else value
        return value if isinstance(value, int) else 0

    side, patch = number(*SIDES), number("patch_size")
    frames = max(number("num_frames", "frames_per_clip"), 1) // max(number("tubelet_size"), 1)
    return max(frames, 1) * (side // patch) ** 2 if side and patch else 0


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
