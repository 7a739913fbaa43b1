"""Files that would run code when unpickled, and honest ones that hold objects of classes which are not here."""

import argparse
import collections
import logging
import os
import pathlib
import pickle
import subprocess
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tvts_bench.models.checkpoint import CheckpointError, read_checkpoint

LAYOUTS = pytest.mark.parametrize("new_layout", [True, False], ids=["zip", "legacy"])


class Calls:
    """Unpickles by calling `function(*arguments)`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.reduced


def attacks(mark: Path) -> dict[str, Any]:
    """Objects whose unpickling would create the file `mark`."""
    return {
        "os.system": Calls(os.system, f"touch {mark}"),
        "subprocess.Popen": Calls(subprocess.Popen, ["touch", str(mark)]),
        "builtins.eval": Calls(eval, f"open({str(mark)!r}, 'w')"),
        "builtins.exec": Calls(exec, f"open({str(mark)!r}, 'w')"),
        "builtins.open": Calls(open, str(mark), "w"),
        "builtins.getattr": Calls(getattr, pathlib.Path(mark), "touch"),
        "logging.FileHandler": Calls(logging.FileHandler, str(mark)),
        "builtins.map": Calls(list, Calls(map, os.mkdir, [str(mark)])),
    }


PLACES: dict[str, Callable[[Any], Any]] = {
    "config": lambda evil: {"state_dict": {"w": torch.zeros(2)}, "config": evil},
    "inside": lambda evil: {"state_dict": {"w": torch.zeros(2), "x": evil}},
    "key": lambda evil: {"state_dict": {evil: torch.zeros(2)}},
    "whole": lambda evil: evil,
}


@LAYOUTS
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("attack", attacks(Path("mark")))
def test_nothing_in_a_hostile_file_runs(tmp_path: Path, attack: str, place: str, new_layout: bool) -> None:
    mark, path = tmp_path / "mark", tmp_path / "evil.pth"
    torch.save(PLACES[place](attacks(mark)[attack]), path, _use_new_zipfile_serialization=new_layout)
    if attack == "logging.FileHandler" and place in ("config", "inside"):
        assert list(read_checkpoint(path).tensors) == ["w"]  # inert, so the rest of the file can be read
    else:
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not mark.exists()


@LAYOUTS
def test_these_files_would_have_run_their_code(tmp_path: Path, new_layout: bool) -> None:
    mark, path = tmp_path / "mark", tmp_path / "evil.pth"
    torch.save(PLACES["config"](Calls(os.mkdir, str(mark))), path, _use_new_zipfile_serialization=new_layout)
    torch.load(path, weights_only=False)
    assert mark.exists()


@LAYOUTS
def test_an_attack_is_named(tmp_path: Path, new_layout: bool) -> None:
    torch.save(
        PLACES["config"](Calls(os.system, "true")), tmp_path / "x.pth", _use_new_zipfile_serialization=new_layout
    )
    with pytest.raises(CheckpointError, match=rf"{os.name}\.system.*nothing of it was run"):
        read_checkpoint(tmp_path / "x.pth")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_plain_pickles_are_not_read(tmp_path: Path, protocol: int) -> None:
    mark, path = tmp_path / "mark", tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(Calls(os.mkdir, str(mark)), protocol=protocol))
    with pytest.raises(CheckpointError, match=r"x\.pkl"):
        read_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_other_pickle_protocols_do_not_open_a_way(tmp_path: Path, protocol: int) -> None:
    mark, path = tmp_path / "mark", tmp_path / "x.pth"
    torch.save(PLACES["config"](Calls(os.mkdir, str(mark))), path, pickle_protocol=protocol)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    assert not mark.exists()


def test_a_pickle_smuggled_into_the_archive_is_not_run(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "x.pth"
    torch.save({"w": torch.zeros(2)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", pickle.dumps(Calls(os.mkdir, str(mark)), protocol=2))
    with pytest.raises(CheckpointError, match="mkdir"):
        read_checkpoint(path)
    assert not mark.exists()


def foreign(name: str, *bases: type) -> type:
    """A class `training_code.<name>` that is gone again when the file is read."""
    module = types.ModuleType("training_code")
    cls = type(name, bases or (object,), {"__module__": "training_code", "__qualname__": name})
    setattr(module, name, cls)
    sys.modules["training_code"] = module
    return cls


def config_parser() -> Any:
    """As in official files: an object of an unknown class that holds all sorts."""
    config = foreign("ConfigParser")()
    config.args = argparse.Namespace(lr=1e-4, resume=None)
    config.save_dir = pathlib.PurePosixPath("/some/where")
    config.tree = collections.OrderedDict(arch={"type": "TVTS"}, itself=config)
    return config


def with_slots() -> Any:
    cls = type("Slotted", (), {"__module__": "training_code", "__slots__": ("x", "__dict__")})
    foreign("Slotted")
    sys.modules["training_code"].Slotted = cls  # type: ignore[attr-defined]
    thing = cls()
    thing.x, thing.y = 1, 2
    return thing


def filled(base: type, *content: Any, **attributes: Any) -> Any:
    """An instance of an unknown subclass of `base`, with content and attributes."""
    thing = foreign("Own" + base.__name__, base)(*content)
    vars(thing).update(attributes)
    return thing


HONEST: dict[str, Callable[[], Any]] = {
    "config parser": config_parser,
    "namespace": lambda: argparse.Namespace(lr=0.1, layers=[1, 2]),
    "path": lambda: pathlib.PurePosixPath("a/b"),
    "dict subclass": lambda: filled(dict, {"a": 1, "b": [2]}),
    "dict subclass with attributes": lambda: filled(dict, {"a": 1, "b": [2]}, frozen=True),
    "ordered dict subclass": lambda: filled(collections.OrderedDict, {"a": 1, "b": 2}),
    "list subclass": lambda: filled(list, [1, 2, 3]),
    "one-element list subclass": lambda: filled(list, [1]),
    "defaultdict": lambda: collections.defaultdict(list, a=[1], b=[2]),
    "slots": with_slots,
    "numpy scalar": lambda: __import__("numpy").float64(0.5),
    "numpy array": lambda: __import__("numpy").arange(3),
    "class itself": lambda: foreign("Trainer"),
    "set": lambda: {1, 2},
    "exception": lambda: ValueError("x"),
    "scheduler": lambda: torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.zeros(1)], lr=1), 1).__class__,
}


@LAYOUTS
@pytest.mark.parametrize("kind", HONEST)
def test_objects_of_unknown_classes_do_not_stop_the_weights(tmp_path: Path, kind: str, new_layout: bool) -> None:
    path, weights = tmp_path / "x.pth", torch.arange(6.0).reshape(2, 3)
    container = {"config": HONEST[kind](), "state_dict": {"w": weights}, "epoch": 3}
    torch.save(container, path, _use_new_zipfile_serialization=new_layout)
    sys.modules.pop("training_code", None)
    checkpoint = read_checkpoint(path)
    assert torch.equal(checkpoint.tensors["w"], weights)
    assert checkpoint.metadata["epoch"] == 3
    assert "training_code" not in sys.modules


def test_what_was_replaced_is_reported(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.zeros(1)}, "config": config_parser()}, tmp_path / "x.pth")
    sys.modules.pop("training_code")
    stubbed = read_checkpoint(tmp_path / "x.pth").stubbed
    assert stubbed == ("argparse.Namespace", "pathlib.PurePosixPath", "training_code.ConfigParser")


def test_the_allowance_ends_with_the_file(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    torch.save({"w": torch.zeros(1), "args": argparse.Namespace()}, tmp_path / "x.pth")
    read_checkpoint(tmp_path / "x.pth")
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "x.pth", weights_only=True)
