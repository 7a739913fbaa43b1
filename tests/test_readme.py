"""What the README shows runs as it is printed there."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.support.plain_videos import write_plain_video
from tvts_bench.backbones.base import TokenBackbone
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.cli.main import app

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader works: two classes of videos, and the README's network in a file."""
    monkeypatch.setenv("TVTS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the current folder is put on it
    for shade in range(3):
        write_plain_video(tmp_path / "videos" / "red" / f"{shade}.mp4", (200 + 10 * shade, 20, 20))
        write_plain_video(tmp_path / "videos" / "blue" / f"{shade}.mp4", (20, 20, 200 + 10 * shade))
    (code,) = re.findall(r"```python\n(# my_net\.py\n.*?)```", README, flags=re.DOTALL)
    (tmp_path / "my_net.py").write_text(code)
    return tmp_path


def run(command: str) -> dict[str, object]:
    data = ["--dataset", "folder", "--root", "videos", "--workers", "0", "--dtype", "fp32", "--json"]
    result = CliRunner().invoke(app, [*command.split()[1:], *data])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["run"]["backbone"]  # type: ignore[no-any-return]


def test_ones_own_network_is_measured_as_the_readme_says(folder: Path) -> None:
    command = "tvts-bench retrieval --backbone my_net.py:Net"
    assert f"`{command}`" in README
    random = run(command)
    assert random["variant"] == "my_net.py:Net"
    assert random["weights"] == "as my_net.py:Net makes them (seed 0)"
    with_weights = f"{command} --ckpt my_weights.pth"
    assert with_weights in README
    torch.manual_seed(1)
    conv = torch.nn.Conv3d(3, 32, kernel_size=(2, 8, 8), stride=(2, 8, 8))
    torch.save({"state_dict": {f"conv.{name}": tensor for name, tensor in conv.state_dict().items()}}, "my_weights.pth")
    loaded = run(with_weights)
    assert loaded["weights"] == "my_weights.pth"
    assert loaded["tensors_sha256"] != random["tensors_sha256"]


def test_its_tokens_are_those_that_an_attentive_probe_takes(folder: Path) -> None:
    backbone = load_backbone("my_net.py:Net")
    assert TokenBackbone(backbone, backbone.clip_spec).num_tokens == 8 // 2 * (56 // 8) ** 2


def test_importable_modules_of_the_current_folder_are_found(folder: Path) -> None:
    assert run("tvts-bench retrieval --backbone my_net:Net")["variant"] == "my_net:Net"


def test_every_command_of_the_readme_is_there() -> None:
    commands = {command.name for command in app.registered_commands}
    shown = set(re.findall(r"^tvts-bench ([\w-]+)", README, flags=re.MULTILINE))
    assert len(shown) > 8
    assert shown <= commands
