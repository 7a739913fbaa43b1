"""What tests of runs share: one thread, and a run that nothing interrupts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pretrain.runs import begin
from tests.support.started_runs import LONG
from tests.support.tiny_run import tiny


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes started here: the number of threads decides how sums are rounded."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    begin(*tiny(folder, *LONG))
    return folder / "run"
