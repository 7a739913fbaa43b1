"""Clips that the tests of training share."""

import pytest

from tests.support.supervised_world import write_records
from tvts_bench.datasets.base import VideoRecord


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[VideoRecord, ...]:
    return write_records(tmp_path_factory.mktemp("videos"))
