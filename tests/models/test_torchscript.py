"""Tensors of TorchScript archives, read while their programs stay where they are."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tvts_bench.models.checkpoint import CheckpointError, read_checkpoint
from tvts_bench.models.unpickling import Scripted, tensors_of

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


class Net(nn.Module):
    """Parameters, buffers shared and not, lists and numbers: what archives of real networks hold."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(2, 3)
        self.blocks = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3))
        self.register_buffer("resolution", torch.tensor(224))
        self.scales = [1, 2]

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x)) * self.scales[1]  # type: ignore[no-any-return]


class Hostile(nn.Module):
    """Its archive says itself how it is read back, by running a method of it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        print("running code of the file")  # noqa: T201
        self.weight = state[0]  # type: ignore[assignment]
        self.training = state[1]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)
        self.hostile = Hostile()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hostile(x))  # type: ignore[no-any-return]


def traced(module: nn.Module) -> Any:
    return torch.jit.trace(module.eval(), torch.zeros(4, 2))


@pytest.mark.parametrize("compile_", [torch.jit.script, traced], ids=["script", "trace"])
@pytest.mark.parametrize("name", ["net.pt", "archive with spaces.pth"])
def test_tensors_are_those_of_the_module(tmp_path: Path, compile_: Callable[[nn.Module], Any], name: str) -> None:
    module = Net()
    compile_(module).save(str(tmp_path / name))
    content = (tmp_path / name).read_bytes()
    checkpoint = read_checkpoint(tmp_path / name)
    expected = module.state_dict()
    assert (checkpoint.format, checkpoint.container) == ("TorchScript archive", None)
    assert set(checkpoint.tensors) == set(expected)
    assert all(torch.equal(checkpoint.tensors[key], tensor) for key, tensor in expected.items())
    assert (tmp_path / name).read_bytes() == content  # only the copy in memory was changed


def test_half_precision_stays_as_it_is(tmp_path: Path) -> None:
    torch.jit.script(nn.Linear(2, 3).half()).save(str(tmp_path / "x.pt"))
    assert {tensor.dtype for tensor in read_checkpoint(tmp_path / "x.pt").tensors.values()} == {torch.float16}


def test_the_program_is_not_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.jit.script(Holder()).save(str(tmp_path / "x.pt"))
    torch.jit.load(str(tmp_path / "x.pt"))
    assert "running code of the file" in capfd.readouterr().out  # so it would have
    checkpoint = read_checkpoint(tmp_path / "x.pt")
    assert "running" not in capfd.readouterr().out
    assert set(checkpoint.tensors) == {"head.weight", "head.bias"}  # what the class packs away is not there


def rewritten(path: Path, data: bytes) -> None:
    """The archive of a linear layer with another `data.pkl`."""
    torch.jit.script(nn.Linear(2, 2)).save(str(path))
    with zipfile.ZipFile(path) as old:
        content = {entry.filename: old.read(entry) for entry in old.infolist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, each in content.items():
            new.writestr(name, data if name.endswith("/data.pkl") else each)


def test_what_asks_to_run_commands_is_refused_in_archives_too(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    rewritten(
        tmp_path / "x.pt",
        b"\x80\x02cos\nsystem\nX" + len(f"touch {mark}").to_bytes(4, "little") + f"touch {mark}".encode() + b"\x85R.",
    )
    with pytest.raises(CheckpointError, match=r"asks to run os\.system"):
        read_checkpoint(tmp_path / "x.pt")
    assert not mark.exists()


BAD: dict[str, tuple[bytes, str]] = {
    "no module": (pickle.dumps([1], protocol=2), "holds no tensors"),
    "itself": (b"\x80\x02c__torch__\nNet\nq\x00)\x81q\x01}X\x01\x00\x00\x00ah\x01sb.", "hold themselves"),
    "nonsense": (b"\x80\x02X", "damaged"),
}


@pytest.mark.parametrize("kind", BAD)
def test_archives_without_a_network_are_refused_in_one_sentence(tmp_path: Path, kind: str) -> None:
    data, said = BAD[kind]
    rewritten(tmp_path / "x.pt", data)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(tmp_path / "x.pt")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_that_is_shared_is_named_everywhere() -> None:
    shared, root = Scripted(), Scripted()
    shared.members = {"w": torch.ones(1), "note": "x"}
    root.members = {"first": shared, "second": shared}
    assert list(tensors_of(root)) == ["first.w", "second.w"]
