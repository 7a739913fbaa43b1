"""A function of the user's own as a backbone: in a module, in a file, with a checkpoint, and done wrong."""

import hashlib
import sys
from pathlib import Path

import pytest
import torch

from tvts_bench.backbones.base import BackboneError, tensors_sha256
from tvts_bench.backbones.custom import is_factory
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.errors import UserError
from tvts_bench.models.checkpoint import CheckpointError
from tvts_bench.video.spec import ClipSpec

NET = """
from dataclasses import dataclass
import torch
from tvts_bench import ClipSpec

@dataclass
class Size:
    width: int = 5

class Net(torch.nn.Module):
    clip_spec = ClipSpec(num_frames=2, short_side=12, crop=8)

    def __init__(self, width):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(3)
        self.out = torch.nn.Linear(3, width)

    def forward(self, clips):
        return self.out(self.norm(clips.mean((2, 3, 4))))

    def tokens(self, clips):
        return self.out(clips.mean((3, 4)).transpose(1, 2))

    def layer_of(self, name):
        return 1 if name.startswith("out.") else 0

def build():
    return Net(Size().width)

class Headless(torch.nn.Module):
    def forward(self, clips):
        return clips.mean((3, 4))

class Deaf(Headless):
    clip_spec = "224"

class Strict(Headless):
    def forward(self, clips):
        raise ValueError("expected 8 frames")

from tvts_bench.backbones.base import Backbone
class Half(Backbone):
    family = "half"

def number(): return 7
def leaves(): raise SystemExit(3)
def wants(width): return Net(width)
"""


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of files that were named stay on the path, as a user wants them to; not from test to test."""
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "my_net.py").write_text(NET)
    return tmp_path / "my_net.py"


def test_a_file_and_its_function_are_a_backbone(file: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, again, other = (load_backbone(f"{file}:build", seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert (first.embed_dim, first.clip_spec) == (5, ClipSpec(num_frames=2, short_side=12, crop=8))
    assert (first.family, first.variant) == ("own", "my_net.py:build")
    assert first.weights == again.weights
    assert first.weights.sha256 != other.weights.sha256
    assert first.weights.files == {"my_net.py": hashlib.sha256(NET.encode()).hexdigest()}
    assert not first.training
    clips = torch.randn(2, 3, 2, 8, 8)
    torch.testing.assert_close(first(clips), again(clips))
    assert first.tokens(clips).shape == (2, 2, 5)
    assert {name: first.layer_of(name) for name, _ in first.named_parameters()}["module.out.bias"] == 1


def test_a_module_on_the_path_and_a_class_do_as_well(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(file.parent))
    file.rename(file.with_name("nets_on_the_path.py"))
    assert load_backbone("nets_on_the_path:build").embed_dim == 5
    with pytest.raises(BackboneError, match=r"Headless returned \[1, 3, 16\]"):
        load_backbone("nets_on_the_path:Headless")


def test_a_checkpoint_is_loaded_whole_or_not_at_all(file: Path, tmp_path: Path) -> None:
    state = load_backbone(f"{file}:build", seed=9).get_submodule("module").state_dict()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "x.pth")
    backbone = load_backbone(f"{file}:build", tmp_path / "x.pth")
    assert tensors_sha256(backbone) == tensors_sha256(load_backbone(f"{file}:build", seed=9))
    assert backbone.weights.name == "x.pth"
    assert list(backbone.weights.files) == ["x.pth", "my_net.py"]
    assert backbone.weights.report is not None
    assert backbone.weights.report.used == len(state)
    torch.save(state | {"extra": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"unknown 1 \(extra\)"):
        load_backbone(f"{file}:build", tmp_path / "x.pth")


def test_other_code_is_another_backbone(file: Path) -> None:
    first = load_backbone(f"{file}:build")
    file.write_text(NET.replace("clips.mean((2, 3, 4))", "clips.amax((2, 3, 4))"))
    second = load_backbone(f"{file}:build")
    assert tensors_sha256(first) == tensors_sha256(second)
    assert first.weights.sha256 != second.weights.sha256  # so that features of the first are not taken for its own


BAD = [
    ("{folder}/gone.py:build", "there is no file"),
    ("no_such_package.nets:build", "there is no module no_such_package here or installed"),
    ("tvts_bench.nothing:build", "there is no module tvts_bench.nothing"),
    ("{file}:builds", "has no function builds; it has build, number, leaves, wants"),
    ("{file}:number", "number() returned an int, expected a torch.nn.Module"),
    ("{file}:wants", "wants() fails (TypeError: wants() missing 1 required positional argument: 'width')"),
    ("{file}:Headless", "Headless returned [1, 3, 16] (torch.float32) for clips [1, 3, 16, 224, 224], expected [1, D]"),
    ("{file}:Deaf", "clip_spec is a str, expected a tvts_bench.ClipSpec"),
    ("{file}:Strict", "fails for clips [1, 3, 16, 224, 224] (ValueError: expected 8 frames)"),
    ("{file}", "name the class or function in it, too: {file}:Net"),
    ("{file}:leaves", "leaves() fails (SystemExit: 3)"),
    ("{file}:Half", "is a Backbone without variant, embed_dim, clip_spec, weights"),
]


@pytest.mark.parametrize(("name", "said"), BAD)
def test_what_is_no_backbone_is_refused_in_one_sentence(file: Path, name: str, said: str) -> None:
    asked = name.format(folder=file.parent, file=file)
    with pytest.raises(BackboneError) as caught:
        load_backbone(asked)
    assert said.format(file=file) in str(caught.value)
    assert asked in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("broken", ["import library_that_is_not_here", "def (", "1 / 0", "exit(0)"])
def test_code_that_cannot_be_imported_says_why(tmp_path: Path, broken: str) -> None:
    (tmp_path / "broken.py").write_text(broken)
    with pytest.raises(BackboneError, match=r"broken\.py cannot be imported \((Module|Syntax|Zero|SystemExit)"):
        load_backbone(f"{tmp_path / 'broken.py'}:build")


def test_families_and_typing_mistakes_are_not_taken_for_modules() -> None:
    assert not is_factory("tvts:tiny")
    assert not is_factory("pixels")
    assert not is_factory("__main__:build")
    assert is_factory("nets/video.py:build")
    assert is_factory("json:load")
    with pytest.raises(UserError, match="did you mean tvts"):
        load_backbone("tvst:base")
