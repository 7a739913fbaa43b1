"""Worker processes start wherever temporary files lie: the path of a socket has room for about a hundred characters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOADER = """
from torch.utils.data import TensorDataset
import torch
from tvts_bench.training.dataloader import load_in_order
if __name__ == "__main__":
    print(list(load_in_order(TensorDataset(torch.arange(4)), range(4), 2)))
"""
CHECK = """
from pathlib import Path
from tvts_bench.check.probe import look, probe_all
from tvts_bench.runtime import Runtime
if __name__ == "__main__":
    print([finding.status for finding in probe_all([look(Path(__file__))] * 2, "pyav", Runtime(workers=2))])
"""


def run(arguments: list[str], temporary: Path) -> subprocess.CompletedProcess[str]:
    temporary.mkdir(parents=True)
    environment = {**os.environ, "TMPDIR": str(temporary)}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def long_folder(tmp_path: Path) -> Path:
    """A folder whose path has 105 characters or more."""
    return tmp_path / ("x" * max(1, 105 - len(str(tmp_path))))


@pytest.mark.parametrize("program", ["extraction", "loader", "check"])
def test_processes_start_with_a_long_tmpdir(tmp_path: Path, long_folder: Path, program: str) -> None:
    if program == "extraction":
        ended = run(
            ["-m", "tests.support.extract_records", str(tmp_path), "--workers", "2", "--count", "5"], long_folder
        )
    else:
        script = tmp_path / "script.py"
        script.write_text(LOADER if program == "loader" else CHECK)
        ended = run([str(script)], long_folder)
        assert ended.stdout.count("tensor" if program == "loader" else "undecodable") >= 2
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr


def test_the_folder_of_temporary_files_stays_what_the_user_set(long_folder: Path) -> None:
    program = "import tempfile; from tvts_bench.processes import worker_context; worker_context(())"
    program += "; print(tempfile.gettempdir())"
    assert run(["-c", program], long_folder).stdout.strip() == str(long_folder)
