"""A folder of small videos in two plain colours."""

from pathlib import Path

import pytest

from tests.plain_videos import write_plain_video


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Four videos each in `red` and `blue`."""
    for shade in range(4):
        write_plain_video(tmp_path / "videos" / "red" / f"{shade}.mp4", (200 + 10 * shade, 20, 20))
        write_plain_video(tmp_path / "videos" / "blue" / f"{shade}.mp4", (20, 20, 200 + 10 * shade))
    return tmp_path / "videos"
