"""`tvts-bench backbones` and `tvts-bench inspect`, as a user reads them and as a program does."""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from tvts_bench import registry
from tvts_bench.backbones.detect import families
from tvts_bench.backbones.model_cards import UNAVAILABLE
from tvts_bench.backbones.tvts import SIZES
from tvts_bench.cli.main import app
from tvts_bench.models.vit import VideoTransformer
from tvts_bench.tables.base import read_published


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})


def document(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def test_every_family_is_listed_with_what_is_known_of_it() -> None:
    result = run("backbones")
    assert result.exit_code == 0, result.output
    for name in registry.names("backbones"):
        assert f"│ {name} " in result.stdout
    unwrapped = " ".join(result.stdout.replace("│", " ").split())  # however wide the terminal is
    assert "published: Table 4, SVT: SSV2 R@1 11.3, R@5 30.7, R@10 41.1, SSV2 linear 18.3" in unwrapped
    assert "CVRL" in unwrapped
    listed = document("backbones")
    assert [each["name"] for each in listed["backbones"]] == list(registry.names("backbones"))
    assert len(listed["without_weights"]) == len(UNAVAILABLE)
    assert listed["problems"] == []


def test_one_family_is_shown_with_addresses_that_can_be_copied() -> None:
    lines = run("backbones", "tvts").stdout.splitlines()
    assert any(line.startswith("variants: base, small, tiny") for line in lines)
    assert any(line.endswith("1JthEHg1ETHp5phHzjuhR1H8SfBlousYD") for line in lines)
    (shown,) = document("backbones", "tvts")["backbones"]
    assert shown["published"][0] == {
        "table": "table4",
        "row": "TVTS",
        "values": {"ssv2_v2v_r1": 14.7, "ssv2_v2v_r5": 38.4, "ssv2_v2v_r10": 50.5, "ssv2_linear_top1": 31.5},
    }


def test_a_system_without_weights_says_what_was_found() -> None:
    result = run("backbones", "scvrl")
    assert result.stdout.startswith("no public weights: no code and no weights were found")
    assert "published: Table 4, SCVRL: SSV2 linear 13.8" in result.stdout


def test_a_name_that_is_not_there_gets_the_nearest() -> None:
    result = run("backbones", "videomea")
    assert result.exit_code == 2
    assert "did you mean videomae" in result.stderr


def test_every_published_row_is_of_a_family_or_said_to_have_no_weights() -> None:
    said = {row for plugin in families().usable.values() for row in plugin.card.published}
    said |= {row for each in UNAVAILABLE for row in each.published}
    tables = {name: {row["method"] for row in read_published(name)} for name in ("table4", "table5", "table7")}
    assert {row for row in said if row[0] in tables} == {(name, row) for name, rows in tables.items() for row in rows}
    assert {row for table, row in said if table == "table1"} <= {row["method"] for row in read_published("table1")}


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A small TVTS as its training code saves it, beside things that it has and nobody needs."""
    state = VideoTransformer.seeded(SIZES["tiny"], 0).state_dict()
    whole = {f"module.video_model.{name}": tensor for name, tensor in state.items()}
    whole |= {"module.txt_proj.1.weight": torch.zeros(2, 2), "module.text_model.w": torch.zeros(3).half()}
    saved = {"epoch": 20, "arch": "TVTS", "state_dict": whole, "config": argparse.Namespace(lr=1)}
    torch.save(saved, tmp_path / "TVTS.pth")
    return tmp_path / "TVTS.pth"


def test_inspect_says_what_a_file_is_and_what_is_used(official: Path) -> None:
    result = run("inspect", str(official))
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    for part in (
        *(str(official), hashlib.sha256(official.read_bytes()).hexdigest()),
        "training checkpoint, tensors under 'state_dict'",
        *("float32 56, float16 1", "video_model 55", "epoch = 20", "stand-ins argparse.Namespace"),
        *("recognised tvts", "backbone tvts:tiny", "used 55 tensors", "unused txt_proj 1, text_model 1"),
        *("16 frames, segments/center, 32 x 32, 1 view", "features 128 numbers a clip"),
    ):
        assert part in said, (part, said)


def test_inspect_as_json(official: Path) -> None:
    found = document("inspect", str(official))
    assert found["refused"] is None
    assert (found["format"], found["container"], found["families"]) == ("training checkpoint", "state_dict", ["tvts"])
    assert found["use"]["unused"] == {"txt_proj": 1, "text_model": 1}
    assert found["use"]["clip"]["crop"] == 32
    assert found["stand_ins"] == ["argparse.Namespace"]


def test_inspect_of_a_file_that_would_be_refused_says_why_and_what_it_holds(tmp_path: Path, official: Path) -> None:
    state = torch.load(official, weights_only=False)["state_dict"]
    del state["module.video_model.norm.bias"]
    torch.save(state, tmp_path / "half.pth")
    result = run("inspect", str(tmp_path / "half.pth"))
    assert result.exit_code == 1
    assert "missing 1 of 55 tensors (norm.bias)" in result.stderr
    assert "recognised  tvts" in result.stdout
    assert "backbone" not in result.stdout

    torch.save({"layer1.0.conv1.weight": torch.zeros(2)}, tmp_path / "other.pth")
    result = run("inspect", str(tmp_path / "other.pth"))
    assert result.exit_code == 1
    assert "is of no known backbone" in result.stderr
    assert "layer1 1" in result.stdout


def test_inspect_says_what_other_networks_the_file_holds(tmp_path: Path, official: Path) -> None:
    state = torch.load(official, weights_only=False)["state_dict"]
    torch.save({"student": state, "teacher": state, "epoch": 1}, tmp_path / "two.pth")
    result = run("inspect", str(tmp_path / "two.pth"))
    assert "tensors under 'teacher'" in result.stdout
    assert "left alone  tensors under student" in result.stdout
    assert "tensors under 'student'" in run("inspect", str(tmp_path / "two.pth"), "--weights", "student").stdout


def test_inspect_says_that_averaged_weights_are_left_alone(tmp_path: Path, official: Path) -> None:
    state = torch.load(official, weights_only=False)["state_dict"]
    torch.save({"model": state, "model_ema": state}, tmp_path / "two.pth")
    result = run("inspect", str(tmp_path / "two.pth"))
    assert (
        "note        two.pth holds averaged weights under 'model_ema'; those under 'model' were taken" in result.stdout
    )
    assert document("inspect", str(tmp_path / "two.pth"), "--weights", "ema")["container"] == "model_ema"
    missing = run("inspect", str(official), "--weights", "ema")
    assert (missing.exit_code, missing.stdout.split()[0]) == (1, "file")
    assert "has no averaged weights; weights are under 'state_dict'" in missing.stderr


@pytest.mark.parametrize("command", ["retrieval", "probe", "finetune", "embed", "search", "table4", "inspect"])
def test_every_command_that_takes_a_checkpoint_lets_its_weights_be_chosen(command: str) -> None:
    assert "--weights" in run(command, "--help").stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "there is no checkpoint"), (b"<html>", "is a web page"), (b"cos\nsystem\n", "is not a")],
)
def test_inspect_of_what_is_no_checkpoint(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "x.pth").write_bytes(content)
    result = run("inspect", str(tmp_path / "x.pth"))
    assert result.exit_code == 1
    assert said in result.stderr
    assert said in document("inspect", str(tmp_path / "x.pth"))["refused"]


def test_inspect_of_a_hostile_file_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str, str]]:
            return open, (str(tmp_path / "mark"), "w")

    torch.save({"state_dict": {"w": torch.zeros(1)}, "config": Evil()}, tmp_path / "x.pth")
    result = run("inspect", str(tmp_path / "x.pth"))
    assert result.exit_code == 1
    assert "asks to run" in result.stderr
    assert not (tmp_path / "mark").exists()


def test_a_file_can_be_tried_as_a_backbone_of_choice(official: Path) -> None:
    result = run("inspect", str(official), "--backbone", "tvts:base")
    assert result.exit_code == 1
    assert "holds tvts:tiny, not the tvts:base asked for" in result.stderr
    assert run("inspect", str(official), "--backbone", "tvts:tiny").exit_code == 0
    assert run("inspect", str(official), "--backbone", "tvst").exit_code == 2
