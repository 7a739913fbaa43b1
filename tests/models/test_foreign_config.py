"""A config.json from elsewhere loses what would make a library fetch or import, and sizes that no network has."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tvts_bench.models.checkpoint import CheckpointError, read_checkpoint
from tvts_bench.models.foreign_config import FETCHING, refuse_parts_elsewhere, refuse_sizes, without_fetching

PATH = Path("config.json")


@pytest.mark.parametrize("key", [*sorted(FETCHING), "_attn_implementation", "_name_or_path", "_anything"])
def test_keys_that_libraries_fetch_and_import_by_are_dropped_at_any_depth(tmp_path: Path, key: str) -> None:
    hostile = {key: "evil/repository", "hidden_size": 64}
    config = {**hostile, "vision_config": hostile, "towers": [{"deep": hostile}]}
    save_file({"w": torch.zeros(1)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    kept = {"hidden_size": 64}
    assert read_checkpoint(tmp_path).config == {**kept, "vision_config": kept, "towers": [{"deep": kept}]}


@pytest.mark.parametrize("key", ["quantization_config", "compression_config"])
@pytest.mark.parametrize(
    ("value", "method"),
    [
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "awq"}, "awq"),
        ({"bits": 4}, "_config"),
        ("evil", "_config"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_quantised_folders_are_one_sentence(key: str, value: Any, method: str, nested: bool) -> None:
    config = {"vision_config": {key: value}} if nested else {key: value}
    with pytest.raises(CheckpointError, match=rf"config\.json says that the weights are quantised \(\w*{method}\)"):
        without_fetching(config, PATH)
    assert without_fetching({key: None, "depth": 1}, PATH) == {"depth": 1}


@pytest.mark.parametrize(
    "part",
    [
        {"model_type": "dpt", "backbone": "evil/repository"},
        {"backbone_config": {"model_type": "timm_backbone", "backbone": "hf-hub:evil/repository"}},
        {"vision_config": {"model_type": "timm_wrapper", "architecture": "hf-hub:evil/repository"}},
        {"parts": [{"model_type": "timm_wrapper"}]},
    ],
)
def test_parts_that_lie_elsewhere_are_refused(part: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json names a part of its network.*nothing is fetched"):
        refuse_parts_elsewhere(part, PATH)
    refuse_parts_elsewhere({"model_type": "dpt", "backbone": None, "backbone_config": {"model_type": "dinov2"}}, PATH)


def test_a_description_nested_without_end_is_one_sentence() -> None:
    config: dict[str, Any] = {}
    for _ in range(100_000):
        config = {"a": config}
    with pytest.raises(CheckpointError, match="nested too deeply"):
        without_fetching(config, PATH)


@pytest.mark.parametrize(
    "config",
    [
        {"hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "intermediate_size": 28_672},
        {"rope_theta": 1e9, "eos_token_id": 2_000_000, "vocab_size": 256_000, "initializer_range": 0.02},
        {"image_size": [512, 512], "patch_size": [16, 16], "depths": [3, 3, 27, 3], "hidden_sizes": [96, 192]},
        {"image_size": {"height": 224, "width": 224}, "num_hidden_layers": None, "qkv_bias": True},
        {"num_frames": 64, "crop_size": 384, "patch_size": 16, "tubelet_size": 2},
    ],
)
def test_sizes_of_real_networks_pass(config: dict[str, Any]) -> None:
    refuse_sizes(config, PATH)


def test_a_long_list_of_sizes_takes_no_time() -> None:
    start = time.monotonic()
    refuse_sizes({f"part_{i}": [i] * 100 for i in range(2_000)}, PATH)
    assert time.monotonic() - start < 5
