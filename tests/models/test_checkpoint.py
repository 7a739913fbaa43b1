"""Reading files of weights, and loading them completely or not at all."""

import hashlib
import json
import pickle
import zipfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.support.weight_files import WEIGHTS, saved
from tvts_bench.models import checkpoint as checkpoint_module
from tvts_bench.models import pickle_names, unpickling
from tvts_bench.models.checkpoint import (
    CONTAINER_KEYS,
    CheckpointError,
    read_checkpoint,
)


@pytest.mark.parametrize("new_layout", [True, False])
@pytest.mark.parametrize("container", [None, *CONTAINER_KEYS])
def test_weights_are_found_where_training_code_puts_them(
    tmp_path: Path, container: str | None, new_layout: bool
) -> None:
    value = WEIGHTS if container is None else {container: WEIGHTS, "epoch": 7, "optimizer": {"state": {}}}
    path = saved(tmp_path / "x.pth", value, _use_new_zipfile_serialization=new_layout)
    checkpoint = read_checkpoint(path)
    assert {name: t.tolist() for name, t in checkpoint.tensors.items()} == {n: t.tolist() for n, t in WEIGHTS.items()}
    assert checkpoint.format == ("state dict" if container is None else "training checkpoint")
    assert checkpoint.container == container
    assert checkpoint.metadata == ({} if container is None else {"epoch": 7})
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.stubbed == ()


def test_the_averaged_network_is_taken_before_the_one_it_averages(tmp_path: Path) -> None:
    other = {name: tensor + 1 for name, tensor in WEIGHTS.items()}
    path = saved(tmp_path / "x.pth", {"encoder": other, "predictor": other, "target_encoder": WEIGHTS})
    checkpoint = read_checkpoint(path)
    assert (checkpoint.container, checkpoint.beside) == ("target_encoder", ("encoder", "predictor"))
    assert torch.equal(checkpoint.tensors["weight"], WEIGHTS["weight"])


def test_a_key_without_tensors_is_no_container(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(saved(tmp_path / "x.pth", {"model": {"width": 768}, "teacher": WEIGHTS}))
    assert (checkpoint.container, checkpoint.beside) == ("teacher", ())


def test_parameters_become_tensors_without_gradient(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.pth", {"w": nn.Parameter(torch.ones(2))})
    tensor = read_checkpoint(path).tensors["w"]
    assert (type(tensor), tensor.requires_grad) == (Tensor, False)


def test_safetensors_are_read_with_their_metadata(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "x.anything", metadata={"made": "by hand"})
    checkpoint = read_checkpoint(tmp_path / "x.anything")
    assert torch.equal(checkpoint.tensors["weight"], WEIGHTS["weight"])
    assert (checkpoint.format, checkpoint.metadata) == ("safetensors", {"made": "by hand"})


@pytest.mark.parametrize("length", [0x80, 0x180, 0x8000])
def test_safetensors_are_known_whatever_the_length_of_their_header(tmp_path: Path, length: int) -> None:
    """The file starts with that length, least byte first: 0x80 is also how pickles start."""
    path = tmp_path / "x.safetensors"
    save_file(WEIGHTS, path)
    content = path.read_bytes()
    header = content[8 : 8 + int.from_bytes(content[:8], "little")].rstrip()
    if len(header) > length:
        save_file({"w": torch.ones(1)}, path)
        content = path.read_bytes()
        header = content[8 : 8 + int.from_bytes(content[:8], "little")].rstrip()
    data = content[8 + int.from_bytes(content[:8], "little") :]
    path.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + data)
    assert read_checkpoint(path).format == "safetensors"


def folder(path: Path, config: str | None, weights: str = "model.safetensors") -> Path:
    path.mkdir()
    if weights == "model.safetensors":
        save_file(WEIGHTS, path / weights)
    else:
        saved(path / weights, WEIGHTS)
    if config is not None:
        (path / "config.json").write_text(config)
    return path


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_folder_has_weights_and_what_they_are_of(tmp_path: Path, weights: str) -> None:
    checkpoint = read_checkpoint(folder(tmp_path / "some-vit", '{"model_type": "vit"}', weights))
    assert torch.equal(checkpoint.tensors["weight"], WEIGHTS["weight"])
    assert (checkpoint.config, checkpoint.origin) == ({"model_type": "vit"}, f"some-vit/{weights}")
    assert checkpoint.files == {
        name: hashlib.sha256((tmp_path / "some-vit" / name).read_bytes()).hexdigest()
        for name in (weights, "config.json")
    }
    (tmp_path / "some-vit" / "config.json").write_text('{"model_type": "vit", "hidden_act": "relu"}')
    assert read_checkpoint(tmp_path / "some-vit").sha256 != checkpoint.sha256  # another network of the same weights


def test_a_folder_without_a_config_is_its_file(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(folder(tmp_path / "x", None))
    assert (checkpoint.config, checkpoint.files) == (None, {})
    assert checkpoint.sha256 == hashlib.sha256((tmp_path / "x" / "model.safetensors").read_bytes()).hexdigest()


def compressed(path: Path) -> None:
    saved(path, WEIGHTS)
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in content.items():
            new.writestr(name, data)


def truncated(path: Path) -> None:
    path.write_bytes(saved(path, WEIGHTS).read_bytes()[:-200])


def truncated_legacy(path: Path) -> None:
    path.write_bytes(saved(path, WEIGHTS, _use_new_zipfile_serialization=False).read_bytes()[:-20])


def foreign_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


def emptied_record(path: Path) -> None:
    """A zip whose pickle is another file's: it names storages that are not there."""
    with zipfile.ZipFile(saved(path, WEIGHTS)) as old:
        data = old.read("x/data.pkl")
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("x/data.pkl", data)
        new.writestr("x/version", "3")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "there is no checkpoint"),
    "folder": (
        lambda path: path.mkdir(),
        "is a folder with neither model.safetensors nor",
    ),
    "folder of another config": (lambda path: folder(path, "[1]"), "config.json holds a list"),
    "folder of half a config": (lambda path: folder(path, "{"), "config.json cannot be read"),
    "folder of a bottomless config": (lambda path: folder(path, "[" * 100_000), "config.json cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (lambda path: path.write_text("my weights"), "is not a checkpoint"),
    "web page": (lambda path: path.write_text("\n<!DOCTYPE html><html>"), "is a web page"),
    "lfs": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "random zip": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 9), "damaged"),
    "truncated zip": (truncated, "damaged"),
    "zip of another kind": (foreign_zip, "not one written by torch.save"),
    "compressed": (compressed, "compressed"),
    "no storages": (emptied_record, "damaged"),
    "truncated legacy": (truncated_legacy, "damaged"),
    "plain pickle": (lambda path: path.write_bytes(pickle.dumps([1, 2])), "is a pickle"),
    "half a pickle": (lambda path: path.write_bytes(b"\x80\x02]q"), "is a pickle"),
    "list": (lambda path: saved(path, [torch.ones(1)]), "holds a list"),
    "tensor": (lambda path: saved(path, torch.ones(1)), "holds a Tensor"),
    "no tensors": (lambda path: saved(path, {"state_dict": {}, "epoch": 1}), "holds no tensors"),
    "numbered": (lambda path: saved(path, {1: torch.ones(1)}), "under 1"),
    "safetensors header": (
        lambda path: path.write_bytes((40).to_bytes(8, "little") + b"{" + b"x" * 80),
        "damaged safe",
    ),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_checkpoint_is_refused_in_one_sentence(tmp_path: Path, kind: str) -> None:
    make, said = BAD[kind]
    path = tmp_path / "x.pth"
    make(path)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert said in message
    assert str(path) in message
    assert "\n" not in message
    assert "weights_only" not in message


def test_a_tensor_larger_than_the_file_is_refused(tmp_path: Path) -> None:
    """Strides of zero make of one number a tensor of terabytes, which the first copy would have to hold."""
    path = saved(tmp_path / "x.pth", WEIGHTS | {"bias": torch.zeros(1).expand(10**12)})
    with pytest.raises(CheckpointError, match=r"tensors that are larger than the whole file: bias"):
        read_checkpoint(path)


def sharded(folder: Path, **places: str) -> Path:
    """`folder` with each tensor of `WEIGHTS` in a file of its own, and an index; `places` changes what that says."""
    said = {"weight": "a.safetensors", "bias": "b.safetensors"}
    for name, file in said.items():
        save_file({name: WEIGHTS[name]}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": said | places}))
    return folder


def test_weights_in_several_files_are_one_checkpoint(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(sharded(tmp_path))
    assert {name: t.tolist() for name, t in checkpoint.tensors.items()} == {n: t.tolist() for n, t in WEIGHTS.items()}
    assert checkpoint.format == "safetensors, 2 files"
    assert set(checkpoint.files) == {"a.safetensors", "b.safetensors", "model.safetensors.index.json"}
    before = checkpoint.sha256
    save_file({"bias": WEIGHTS["bias"] + 1}, tmp_path / "b.safetensors")
    assert read_checkpoint(tmp_path).sha256 != before


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"bias": "c.safetensors"}, "there is no checkpoint"),
        ({"bias": "a.safetensors"}, r"names other tensors than are in a\.safetensors"),
        ({"more": "b.safetensors"}, r"names other tensors than are in b\.safetensors"),
        ({"bias": "../b.safetensors"}, "does not say which tensor is in which file"),
        ({"bias": "b.bin"}, "does not say which tensor is in which file"),
    ],
)
def test_an_index_that_does_not_fit_its_files_is_refused(tmp_path: Path, places: dict[str, str], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        read_checkpoint(sharded(tmp_path, **places))
    with pytest.raises(CheckpointError, match="is the index of several files: name the folder"):
        read_checkpoint(tmp_path / "model.safetensors.index.json")


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (Namespace(width=768), "an object of the class argparse.Namespace"),
        ([torch.zeros(1)], "a list"),
        (3, "an int"),
        (nn.Linear(3, 2), "an object of the class torch.nn.modules.linear.Linear"),
        (None, "nothing"),
    ],
)
def test_what_is_no_dictionary_is_called_what_it_is(tmp_path: Path, value: object, what: str) -> None:
    path = saved(tmp_path / "x.pth", value)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    sentence = f"{path} holds {what}, not a dictionary of tensors: have its authors save the state_dict()"
    assert str(caught.value) == sentence


def scripted(path: Path) -> Path:
    torch.jit.save(torch.jit.script(nn.Linear(64, 64)), path)
    return path


@pytest.mark.parametrize("kind", ["state dict", "TorchScript archive", "shard"])
def test_a_tensor_whose_bytes_changed_is_damage(tmp_path: Path, kind: str) -> None:
    """torch maps the tensors of such a file without a look at their checksums."""
    path = tmp_path / "pytorch_model.bin" if kind == "shard" else tmp_path / "x.pt"
    scripted(path) if kind == "TorchScript archive" else saved(path, {"weight": torch.ones(64, 64)})
    read_checkpoint(path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = max(archive.infolist(), key=lambda each: each.file_size)
    content[entry.header_offset + 1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"is damaged: {entry.filename} in it is not as it was written .*anew"):
        read_checkpoint(tmp_path if kind == "shard" else path)


def test_files_that_were_written_without_checksums_are_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        path = saved(tmp_path / "x.pth", WEIGHTS)
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read_checkpoint(path).tensors["weight"], WEIGHTS["weight"])


@pytest.mark.parametrize("layout", ["zip", "one storage", "one tensor", "legacy", "safetensors"])
def test_more_tensors_than_any_network_has_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """A few megabytes can hold any number of empty ones."""
    for module in (checkpoint_module, unpickling, pickle_names):
        monkeypatch.setattr(module, "MAX_TENSORS", 1_000)
    monkeypatch.setattr(unpickling, "OTHER_ENTRIES", 10)
    path, shared, names = tmp_path / "x", torch.zeros(1), [str(i) for i in range(1_001)]
    if layout == "safetensors":
        save_file({name: torch.zeros(0) for name in names}, path)
    elif layout == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for entry in ("data.pkl", *(f"data/{name}" for name in range(1_011))):
                archive.writestr(f"x/{entry}", b"")
    elif layout == "one tensor":
        saved(path, dict.fromkeys(names, shared))
    else:
        saved(path, {name: shared.view(1) for name in names}, _use_new_zipfile_serialization=layout != "legacy")
    with pytest.raises(CheckpointError, match=r"holds more than 1,000 tensors, which no network has: get another file"):
        read_checkpoint(path)
