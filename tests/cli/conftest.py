"""A folder of small videos in two plain colours."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.plain_videos import write_plain_video
from tvts_bench.cli import console, setup
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Four videos each in `red` and `blue`."""
    for shade in range(4):
        write_plain_video(tmp_path / "videos" / "red" / f"{shade}.mp4", (200 + 10 * shade, 20, 20))
        write_plain_video(tmp_path / "videos" / "blue" / f"{shade}.mp4", (20, 20, 200 + 10 * shade))
    return tmp_path / "videos"


@pytest.fixture
def requested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The data sets that a command loads: for each it gets the folder `videos`."""
    requested: list[Any] = []

    def stand_in(name: str, *options: Any) -> Dataset:
        requested.append((name, *options))
        return load_dataset("folder", tmp_path / "videos")

    monkeypatch.setattr(setup, "make_dataset", stand_in)
    monkeypatch.chdir(tmp_path)
    return requested


@pytest.fixture(autouse=True)
def _width_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich keeps the width that the environment had when its console was made: here that of another test."""
    for made in (console.stdout, console.stderr):
        monkeypatch.setattr(made, "_width", None)
