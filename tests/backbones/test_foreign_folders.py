"""Nothing that a folder's config.json says makes a library fetch or import: the same network comes of it without."""

import contextlib
import importlib
import json
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.support.altered import clips, trained
from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError

import timm  # isort: skip
import transformers as library  # isort: skip
from transformers import dynamic_module_utils, modeling_utils  # isort: skip
from transformers.integrations import hub_kernels  # isort: skip

SMALL: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 64}
SMALL |= {"image_size": 32, "patch_size": 8}
EVIL = "evil-owner/evil-repository"
KEYS: dict[str, Any] = {
    "_attn_implementation": EVIL,
    "attn_implementation": f"{EVIL}@main:kernel",
    "_attn_implementation_internal": EVIL,
    "_experts_implementation": EVIL,
    "experts_implementation": EVIL,
    "auto_map": {"AutoModel": f"{EVIL}--modeling.Evil", "AutoConfig": f"{EVIL}--configuration.Evil"},
    "custom_pipelines": {"video-classification": {"impl": "evil.Evil"}},
    "_name_or_path": EVIL,
    "name_or_path": EVIL,
    "_commit_hash": "main",
    "transformers_weights": "../../evil.safetensors",
    "fusion_config": {"evil": True},
    "kernel_config": {"kernel_mapping": {"LayerNorm": f"{EVIL}:LayerNorm"}},
    "use_kernels": True,
    "base_model_name_or_path": EVIL,
    "peft_type": "LORA",
    "adapter": EVIL,
    "device_map": "auto",
    "base_model_tp_plan": {"layers.*": "colwise"},
    "distributed_config": {"tp_size": 8},
    "dtype": "float16",
    "torch_dtype": "evil",
    "torchscript": True,
    "return_dict": False,
    "output_attentions": True,
    "use_pretrained_backbone": True,
    "extra_files": ["evil.py"],
    "gguf_file": "evil.gguf",
}


@pytest.fixture(autouse=True)
def _no_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection, a module named by a file, or a kernel ends the test."""

    def refuse(*given: object, **options: object) -> NoReturn:
        pytest.fail(f"something was fetched or imported: {given} {options}")

    for owner, name in (
        (socket.socket, "connect"),
        (socket, "getaddrinfo"),
        (dynamic_module_utils, "get_class_from_dynamic_module"),
        (library.models.auto.auto_factory, "get_class_from_dynamic_module"),
        (hub_kernels, "load_and_register_attn_kernel"),
        (modeling_utils, "lazy_import_flash_attention"),
        (hub_kernels, "get_kernel"),
    ):
        monkeypatch.setattr(owner, name, refuse, raising=True)
    real = importlib.import_module
    monkeypatch.setattr(
        importlib, "import_module", lambda name, *more: refuse(name) if "evil" in name else real(name, *more)
    )


def folder(path: Path, model: nn.Module, **changes: object) -> Path:
    """As the library saves the model, with other entries in its config.json."""
    trained(model).save_pretrained(path)  # type: ignore[operator]
    content = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(content | changes))
    return path


def vit() -> Any:
    torch.manual_seed(0)
    return library.ViTModel(library.ViTConfig(**SMALL))


def clip() -> Any:
    torch.manual_seed(0)
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    return library.CLIPModel(library.CLIPConfig(vision_config=SMALL, text_config=text | {"vocab_size": 9}))


@pytest.mark.parametrize("key", KEYS)
def test_a_hostile_key_changes_nothing(tmp_path: Path, key: str) -> None:
    plain = load_backbone("transformers", folder(tmp_path / "plain", vit()))
    hostile = load_backbone("transformers", folder(tmp_path / "hostile", vit(), **{key: KEYS[key]}))
    with torch.inference_mode():
        assert torch.equal(plain(clips()), hostile(clips()))


@pytest.mark.parametrize("key", KEYS)
def test_a_hostile_key_of_the_encoder_in_a_larger_model_changes_nothing(tmp_path: Path, key: str) -> None:
    plain = load_backbone("transformers", folder(tmp_path / "plain", clip()))
    vision = {**json.loads((tmp_path / "plain" / "config.json").read_text())["vision_config"], key: KEYS[key]}
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, key: KEYS[key]}
    path = folder(tmp_path / "hostile", clip(), vision_config=vision, text_config=text)
    with torch.inference_mode():
        assert torch.equal(plain(clips()), load_backbone("transformers", path)(clips()))


def test_the_library_itself_would_have_gone_for_the_kernel() -> None:
    """So the tests above can fail."""
    config = library.ViTConfig(**SMALL | {"attn_implementation": EVIL})
    with pytest.raises((pytest.fail.Exception, ImportError, ValueError)):
        library.AutoModel.from_config(config)


@pytest.mark.parametrize(
    "part",
    [
        {"model_type": "timm_backbone", "backbone": f"hf-hub:{EVIL}"},
        {"model_type": "timm_wrapper", "architecture": f"hf-hub:{EVIL}"},
        {"model_type": "timm_wrapper", "architecture": "test_vit", "model_args": {"checkpoint_path": "/evil.pth"}},
        {"model_type": "dpt", "backbone": EVIL, "backbone_config": None},
        {"model_type": "detr", "backbone": EVIL, "use_timm_backbone": False},
        {"model_type": "dpt", "backbone_config": {"model_type": "timm_backbone", "backbone": f"hf-hub:{EVIL}"}},
        {"vision_config": {"model_type": "timm_wrapper", "architecture": f"hf-hub:{EVIL}"}},
    ],
)
def test_networks_that_lie_elsewhere_are_refused(tmp_path: Path, part: dict[str, Any]) -> None:
    path = folder(tmp_path / "hostile", vit(), **part)
    with pytest.raises((BackboneError, CheckpointError), match=r"nothing is fetched|--backbone timm:NAME loads it"):
        load_backbone("transformers", path)


@pytest.mark.parametrize("kind", [["vit"], {"a": 1}, 3, None, "../vit"])
def test_a_kind_that_is_no_name_is_refused(tmp_path: Path, kind: object) -> None:
    with pytest.raises(BackboneError, match="has no architecture"):
        load_backbone("transformers", folder(tmp_path / "vit", vit(), model_type=kind))


@pytest.mark.parametrize(
    "name", ["to_dict", "get_text_config", "name_or_path", "sub_configs", "__class__", "use_cache"]
)
def test_keys_that_hide_the_librarys_own_are_no_traceback(tmp_path: Path, name: str) -> None:
    path = folder(tmp_path / "vit", vit(), **{name: 3})
    with contextlib.suppress(BackboneError, CheckpointError):
        load_backbone("transformers", path)


def test_a_quantised_folder_is_one_sentence(tmp_path: Path) -> None:
    quantised = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    path = folder(tmp_path / "vit", vit(), quantization_config=quantised)
    for name in (None, "transformers", "videomae", "timm"):
        with pytest.raises(CheckpointError, match=r"says that the weights are quantised \(bitsandbytes\)"):
            load_backbone(name, path)


def test_eight_bits_without_a_word_in_the_description_are_refused(tmp_path: Path) -> None:
    """The library would cast them, without their scales."""
    path = folder(tmp_path / "vit", vit())
    state = {name: (10 * tensor).to(torch.int8) for name, tensor in vit().state_dict().items()}
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"are integers, as quantised weights are \(int8\)"):
        load_backbone("transformers", path)


def timm_folder(path: Path, **described: object) -> Path:
    path.mkdir()
    torch.manual_seed(0)
    save_file(dict(trained(timm.create_model("test_vit", num_classes=10)).state_dict()), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"architecture": "test_vit", **described}))
    return path


@pytest.mark.parametrize(
    "described",
    [
        {"model_args": {"checkpoint_path": "/evil.pth"}},
        {"model_args": {"pretrained": True, "cache_dir": "/evil"}},
        {"model_args": {"pretrained_cfg": {"url": "http://evil", "file": "/evil.pth"}}},
        {"model_args": {"pretrained_cfg_overlay": {"hf_hub_id": EVIL}, "pretrained_strict": False}},
        {
            "pretrained_cfg": {
                "url": "http://evil",
                "hf_hub_id": EVIL,
                "hf_hub_filename": "evil.bin",
                "source": "hf-hub",
            }
        },
        {"pretrained_cfg": {"file": "/evil.pth", "state_dict": {"w": 1}, "custom_load": True}},
        {"pretrained_cfg": {"classifier": ["blocks", "norm"], "first_conv": "evil"}},
        {"auto_map": {"AutoModel": "evil.Evil"}, "custom_load": True},
    ],
)
def test_a_description_of_timms_fetches_nothing_and_names_no_heads(tmp_path: Path, described: dict[str, Any]) -> None:
    plain = load_backbone("timm", timm_folder(tmp_path / "plain"))
    hostile = load_backbone("timm", timm_folder(tmp_path / "hostile", **described))
    with torch.inference_mode():
        assert torch.equal(plain(clips(size=32)), hostile(clips(size=32)))


@pytest.mark.parametrize("name", [f"hf-hub:{EVIL}", "local-dir:/evil", ["test_vit"], EVIL])
def test_timm_networks_by_places_are_refused(tmp_path: Path, name: object) -> None:
    path = timm_folder(tmp_path / "hostile")
    (path / "config.json").write_text(json.dumps({"architecture": name}))
    with pytest.raises(BackboneError, match=r"has no network|does not say which network"):
        load_backbone("timm", path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"depth": 10**9}, r"model_args\.depth = 1000000000, expected a whole number of 0 to 1,000"),
        ({"depth": 0}, r"does not fit the network: unknown"),
        ({"depth": 1}, r"does not fit the network: unknown"),
        ({"embed_dim": 2**20, "num_heads": 2}, r"does not fit the network: .*of another shape"),
        ({"embed_dim": 10**9}, r"model_args\.embed_dim = 1000000000, expected"),
    ],
)
def test_sizes_of_timms_that_the_file_has_not_are_refused(
    tmp_path: Path, arguments: dict[str, int], sentence: str
) -> None:
    with pytest.raises((BackboneError, CheckpointError), match=sentence):
        load_backbone("timm", timm_folder(tmp_path / "hostile", model_args=arguments))
