"""The demo on a small stand-in for the built-in synthetic set: one table, and the files of three results."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.support.plain_videos import write_plain_video
from tvts_bench.cli.main import app
from tvts_bench.cli.retrieval import BACKBONES, DATASET

DEMO = ("demo", "--workers", "0", "--dtype", "fp32", "--cache", "cache", "--out", "out")


@pytest.fixture
def small(tmp_path: Path, requested: list[Any]) -> list[Any]:
    """Two colours of six videos each in place of the built-in synthetic set; what the demo requests."""
    for shade in range(6):
        write_plain_video(tmp_path / "videos" / "red" / f"{shade}.mp4", (200 + 8 * shade, 20, 20))
        write_plain_video(tmp_path / "videos" / "blue" / f"{shade}.mp4", (20, 20, 200 + 8 * shade))
    (tmp_path / "videos" / "blue" / "gone.mp4").write_text("no video")
    return requested


def test_one_table_with_intervals_chance_and_paired_differences(
    small: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")  # what a pipe gets
    result = CliRunner().invoke(app, list(DEMO))
    assert result.exit_code == 0, result.output
    assert small == [(DATASET, None, None, 1, Path("cache"))]
    lines = result.stdout.splitlines()
    for words in (*BACKBONES, "R@1, %", "R@5, %", "R@10, %", "chance"):
        assert words in result.stdout
    assert max(len(line) for line in lines if "│" in line) <= 80
    documents = {path.name: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")}
    assert len(documents) == 3
    for document in documents.values():
        values = {metric["name"]: metric for metric in document["metrics"]}
        recall = values["R@1"]
        assert any(f"{recall['value']:.2f}" in line for line in lines)
        assert any(f"{recall['low']:.1f} - {recall['high']:.1f}" in line for line in lines)
        assert any("chance" in line and f"{values['R@5']['chance']:.2f}" in line for line in lines)
        assert document["run"]["backbone"]["sha256"][:12] in result.stdout
        assert document["key"][:12] in result.stdout
    for words in ("12 of 13 clips used, 1 failed (fingerprint ", "read by ", "computed by cpu, batches of 16, torch "):
        assert sum(words in line for line in lines) == 1, words  # shared facts are said once
    assert result.stderr.count("gone.mp4") == 1
    for name in documents:
        assert (tmp_path / "out" / name).with_suffix(".md").exists()
        assert name in result.stderr


def test_a_difference_is_that_of_the_two_values_above(small: list[Any], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, list(DEMO), env={"COLUMNS": "200"})
    rows = {
        line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:-1]]
        for line in result.stdout.splitlines()
        if line.startswith("│") and line.split("│")[1].strip()
    }
    shipped, l_base, random = (rows[label] for label in BACKBONES)
    assert list(rows)[3:] == ["chance", "TVTS minus L_base only", "TVTS minus random weights"]
    for other, name in ((l_base, "L_base only"), (random, "random weights")):
        differences = [f"{float(a) - float(b):+.1f}" for a, b in zip(shipped, other, strict=True)]
        assert [f"{float(value):+.1f}" for value in rows[f"TVTS minus {name}"]] == differences
    names = {path.name for path in (tmp_path / "out").glob("*.neighbors.parquet")}
    assert len(names) == 3
    assert all(len(pd.read_parquet(tmp_path / "out" / name)) == 12 * 10 for name in names)


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_made(small: list[Any], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    result = CliRunner().invoke(app, list(DEMO))
    assert result.exit_code == 2
    assert "cannot write to out" in result.stderr
    assert not small
