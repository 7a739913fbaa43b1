"""`tvts_bench.check` on real files: one of every problem, and no problem where there is none."""

import csv
import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from tests.support.fragile_reading import out_of_descriptors
from tvts_bench.check import CheckReport, Problem, check_dataset, write_csv
from tvts_bench.check.probe import Finding, Journal, look, probe, probe_all
from tvts_bench.check.problems import journal_path
from tvts_bench.datasets.base import DatasetError
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.errors import UserError
from tvts_bench.runtime import Runtime

Check = Callable[..., CheckReport]


def write_video(path: Path, seed: int, frames: int = 12) -> None:
    """MPEG-4 in the container that the name tells; different content for every seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(frames):
            image = av.VideoFrame.from_ndarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of two sound videos each."""
    root = tmp_path / "data"
    for number, name in enumerate(("run/a.mp4", "run/b.avi", "walk/c.mp4", "walk/d.avi")):
        write_video(root / name, number)
    return root


@pytest.fixture
def check(root: Path, tmp_path: Path) -> Check:
    """Check `root` as a `folder`; few workers, and the findings kept between calls."""

    def run(name: str = "folder", workers: int = 0, timeout: float = 60.0, **options: object) -> CheckReport:
        runtime = Runtime(workers=workers, clip_timeout=timeout, cache=tmp_path / "cache")
        return check_dataset(load_dataset(name, root), runtime, **options)  # type: ignore[arg-type]

    return run


def problems_of(report: CheckReport) -> set[tuple[str, str]]:
    """(id, problem) pairs."""
    return {(row.id, row.problem) for row in report.problems}


def test_sound_videos_have_no_problem(check: Check) -> None:
    report = check(workers=2)
    assert report.problems == []
    assert (report.listed, report.read, report.recalled) == ({"all": 4}, 4, 0)


def test_files_that_cannot_be_read(root: Path, check: Check) -> None:
    (root / "run/zero.mp4").touch()
    (root / "run/text.mp4").write_text("hello\n" * 100)
    (root / "walk/dir.mp4").mkdir()
    (root / "walk/cut.mp4").write_bytes((root / "walk/c.mp4").read_bytes()[:-2000])
    report = check(workers=1)
    assert problems_of(report) == {
        ("run/zero.mp4", "empty"),
        ("run/text.mp4", "undecodable"),
        ("walk/dir.mp4", "undecodable"),
        ("walk/cut.mp4", "undecodable"),
    }
    assert all(row.detail for row in report.problems)
    assert report.count("all", "undecodable") == 3


@pytest.mark.parametrize("victim", ["workers", "server"])
def test_what_is_killed_from_outside_is_started_again_and_no_file_is_blamed(tmp_path: Path, victim: str) -> None:
    for number in range(60):
        write_video(tmp_path / f"{number}.mp4", number)
    seen = [look(path) for path in tmp_path.iterdir()]
    findings = []
    for finding in probe_all(seen, "pyav", Runtime(workers=2, clip_timeout=5.0)):
        findings.append(finding)
        if len(findings) == 3:
            workers = [worker for server in psutil.Process().children() for worker in server.children()]
            assert workers
            for process in workers if victim == "workers" else {worker.parent() for worker in workers}:
                os.kill(process.pid, signal.SIGKILL)
    assert {finding.path for finding in findings} == {finding.path for finding in seen}
    assert len(findings) == len(seen)
    assert {finding.status for finding in findings} == {"ok"}


def test_a_file_that_takes_too_long_is_listed_without_workers_too(
    root: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = threading.Event()

    def hanging(seen: Finding, decoder: str) -> Finding:
        if seen.path.endswith("b.avi"):
            end.wait()
        return probe(seen, decoder)

    monkeypatch.setattr("tvts_bench.check.probe.probe", hanging)
    report = check(timeout=1.0)
    end.set()
    assert [(problem.problem, problem.detail) for problem in report.problems] == [("timed out", "not read within 1 s")]


def test_a_file_that_takes_too_long_is_killed_and_listed(root: Path, check: Check) -> None:
    with (root / "run/slow.mp4").open("wb") as file:
        file.truncate(2**40)  # sparse: hashing it would take minutes
    report = check(workers=1, timeout=1.0)
    assert problems_of(report) == {("run/slow.mp4", "timed out")}
    assert report.problems[0].detail == "not read within 1 s"
    assert check(workers=1, timeout=1.0).read == 0
    (root / "run/slow.mp4").unlink()
    assert check().problems == []


def test_same_content_twice_in_a_split(root: Path, check: Check) -> None:
    (root / "run/copy.mp4").write_bytes((root / "run/b.avi").read_bytes())
    report = check()
    assert [(row.id, row.problem, row.detail) for row in report.problems] == [
        ("run/copy.mp4", "duplicate", "same content as run/b.avi")
    ]


def test_same_content_under_two_labels(root: Path, check: Check) -> None:
    (root / "walk/copy.mp4").write_bytes((root / "run/a.mp4").read_bytes())
    report = check()
    assert problems_of(report) == {
        ("run/a.mp4", "mislabelled"),
        ("walk/copy.mp4", "mislabelled"),
        ("walk/copy.mp4", "duplicate"),
    }
    assert "labelled 'run', the same video in all (walk/copy.mp4) 'walk'" in {row.detail for row in report.problems}


def test_videos_in_two_splits_are_leaks(root: Path, check: Check) -> None:
    copy = root / "run/copy.mp4"
    copy.write_bytes((root / "run/a.mp4").read_bytes())
    (root / "train.csv").write_text("run/a.mp4,run\nwalk/c.mp4,walk\nrun/gone.mp4,run\n")
    (root / "val.csv").write_text("run/copy.mp4,run\nwalk/c.mp4,walk\nrun/gone.mp4,run\nrun/b.avi,run\n")
    report = check("list")
    assert {(row.split, row.id, row.problem) for row in report.problems} == {
        ("train", "run/gone.mp4", "missing"),
        ("val", "run/gone.mp4", "missing"),
        ("val", "run/gone.mp4", "leak"),
        ("val", "run/copy.mp4", "leak"),
        ("val", "walk/c.mp4", "leak"),
    }
    assert report.read == 4  # each file once, whatever the number of entries


def test_list_against_folders(root: Path, check: Check) -> None:
    (root / "val.csv").write_text("run/a.mp4,run\nrun/b.avi,walk\nwalk/c.mp4,walk\n")
    report = check("list")
    assert [(row.id, row.problem, row.detail) for row in report.problems] == [
        ("run/b.avi", "mislabelled", "labelled 'walk', but lies in the folder of 'run'")
    ]


def test_file_names_that_tell_another_class(root: Path, check: Check) -> None:
    names = {
        "x/v_Run_g01_c01.avi": "run",
        "x/v_Walk_g01_c02.avi": "run",
        "x/walk_run_f_cm_np1_ba_med_0.avi": "run",
        "x/run_walk_f_cm_np1_ba_med_0.avi": "run",
        "x/walk_alone.avi": "run",
        "walk/c.mp4": "walk",
    }
    for number, name in enumerate(names):
        if not (root / name).exists():
            write_video(root / name, 100 + number)
    (root / "val.csv").write_text("".join(f"{name},{label}\n" for name, label in names.items()))
    # In `run_walk_f_...` the source may be called run: what stands before the attributes is walk.
    assert problems_of(check("list")) == {
        ("x/v_Walk_g01_c02.avi", "mislabelled"),
        ("x/run_walk_f_cm_np1_ba_med_0.avi", "mislabelled"),
    }


def test_split_without_files_is_left_out_with_the_reason(root: Path, check: Check) -> None:
    (root / "train.csv").write_text("gone.mp4,run\n")
    (root / "val.csv").write_text("run/a.mp4,run\n")
    report = check("list")
    assert report.listed == {"val": 1}
    assert "none of the 1 videos" in report.unavailable["train"]
    with pytest.raises(DatasetError, match="none of the 1 videos"):
        check("list", splits=["train"])


def test_second_check_reads_only_what_changed(root: Path, check: Check) -> None:
    (root / "run/text.mp4").write_text("hello")
    first = check()
    again = check()
    assert (again.read, again.recalled) == (0, 5)
    assert again.problems == first.problems
    write_video(root / "run/text.mp4", 77)
    third = check()
    assert (third.read, third.recalled, third.problems) == (1, 4, [])
    assert check(fresh=True).read == 5


def test_other_content_of_equal_size_and_time_is_read_again(root: Path, check: Check) -> None:
    check()
    path, before = root / "run/a.mp4", (root / "run/a.mp4").stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = check()
    assert again.read == 1
    assert problems_of(again) == {("run/a.mp4", "undecodable")}


def test_a_file_that_could_not_be_read_for_a_moment_is_read_again(root: Path, check: Check) -> None:
    with out_of_descriptors({root / "run/a.mp4"}):
        assert problems_of(check()) == {("run/a.mp4", "undecodable")}
    healed = check()
    assert (healed.read, healed.recalled, healed.problems) == (1, 3, [])


def test_what_an_earlier_version_found_by_size_and_time_alone_is_not_recalled(
    root: Path, check: Check, tmp_path: Path
) -> None:
    check()
    (journal,) = (tmp_path / "cache" / "check").iterdir()
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    older = [{name: value for name, value in line.items() if name not in ("ctime_ns", "inode")} for line in lines]
    journal.write_text("".join(json.dumps(line) + "\n" for line in older))
    assert check().read == 4


def test_half_written_last_line_costs_one_file(root: Path, check: Check, tmp_path: Path) -> None:
    (root / "run/text.mp4").write_text("hello")
    first = check()
    journal = journal_path(load_dataset("folder", root), tmp_path / "cache", "pyav")
    whole = journal.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    for end in (last, last + 1, (last + len(whole)) // 2, len(whole) - 2):
        journal.write_bytes(whole[:end])
        report = check()
        assert (report.read, report.recalled) == (1, 4)
        assert report.problems == first.problems
    whole_lines = [line for line in journal.read_text().splitlines() if line.endswith("}")]
    assert json.loads(whole_lines[-1])["path"] == json.loads(whole[last:])["path"]


def test_unknown_decoder_is_refused(check: Check) -> None:
    with pytest.raises(UserError, match="unknown decoder 'vlc'"):
        check(decoder="vlc")


def test_csv_has_a_row_a_problem(tmp_path: Path) -> None:
    row = Problem(
        split="val", id='a "b", c.mp4', path=os.fsdecode(b"/x/caf\xe9.mp4"), problem="empty", detail="0 bytes"
    )
    path = tmp_path / "new" / "problems.csv"
    write_csv([row], path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"split": "val", "id": row.id, "path": "/x/caf\\udce9.mp4", "problem": "empty", "detail": "0 bytes"}
    ]
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*x.csv: .*another --out"):
        write_csv([], tmp_path / "file" / "x.csv")
    with pytest.raises(UserError, match=r"cannot keep what the check finds in .*--cache DIR"):
        Journal(tmp_path / "file" / "x.jsonl", fresh=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_a_full_disk_under_the_journal_is_one_sentence(tmp_path: Path) -> None:
    finding = Finding(path="a.mp4", size=1, mtime_ns=1, status="ok")
    with Journal(tmp_path / "x.jsonl", fresh=False) as journal, Path("/dev/full").open("ab", buffering=0) as full:
        journal._file, kept = full, journal._file
        with pytest.raises(UserError, match="No space left"):
            journal.add(finding)
        journal._file = kept
