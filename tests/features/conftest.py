"""What the tests of extraction extract."""

from pathlib import Path

import pytest

from tests.support.feature_world import make_records
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.runtime import Runtime


@pytest.fixture
def records(tmp_path: Path) -> list[VideoRecord]:
    return list(make_records(tmp_path / "videos", 150))


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(workers=0, cache=tmp_path / "cache")
