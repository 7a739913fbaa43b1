"""The log: what is read back, and a disk that is full for a while."""

import json
from pathlib import Path

import pytest

from pretrain.run_folder import read_status, write_status
from tests.support.short_of_space import files_no_longer_than
from tvts_bench.training.metric_logger import MetricWriter


def steps(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_full_disk_is_said_once_and_what_it_kept_out_is_written_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = MetricWriter(tmp_path, 0)
    with files_no_longer_than(50):
        for step in range(1, 6):
            log.write({"step": step, "loss": 1.5, "words": "x" * 20})
            log.flush()
    assert caplog.text.count("metrics.jsonl: File too large; training continues") == 1
    log.write({"step": 6, "loss": 1.0})
    log.close()
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_resumed_log_drops_later_steps_and_lines_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n\xff\xfe\n5\n{"step": 2}\n{"step": 3}\n{"st')
    log = MetricWriter(tmp_path, 2)
    log.write({"step": 3, "loss": 2.0})
    log.close()
    assert steps(tmp_path) == [1, 2, 3]


def test_a_status_that_cannot_be_written_hides_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_status(tmp_path, "running")
    with files_no_longer_than(10):
        write_status(tmp_path, "failed", reason="the loss is nan")
    assert "status.json: File too large" in caplog.text
    assert read_status(tmp_path)["outcome"] == "running"
