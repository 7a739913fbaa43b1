"""A run that is resumed asks for the files that it began with."""

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pretrain.cli import app
from pretrain.run_folder import load_state
from pretrain.runs import begin, resume
from pretrain.yaml_config import read_yaml
from tests.support.narration_files import write_json, write_seconds, yt_temporal
from tests.support.tiny_run import tiny
from tvts_bench.errors import UserError
from tvts_bench.training.checkpoint import LAST


def source(folder: Path) -> Path:
    """Six videos of 20 s with transcripts beside them."""
    for number in range(6):
        write_seconds(folder / f"v{number}.mp4", 20)
        write_json(folder / f"v{number}.json", yt_temporal(20))
    return folder


def begun(tmp_path: Path) -> Path:
    """The folder of a run of four steps on `tmp_path`/data, as if it had been stopped after the last."""
    config, launch = tiny(
        tmp_path,
        f"data.sources=[{{kind: folder, root: {source(tmp_path / 'data')}, frames: 4}}]",
        "steps=4",
        f"cache={tmp_path / 'cache'}",
    )
    begin(config, launch)
    return tmp_path / "run"


def weights(run: Path) -> dict[str, list[float]]:
    return {name: value.flatten().tolist() for name, value in load_state(run / "checkpoints" / LAST).model.items()}


def test_the_same_files_are_not_asked_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = begun(tmp_path)
    before = weights(run)
    resume(run)
    assert weights(run) == before
    assert "other files" not in caplog.text


@pytest.mark.parametrize("change", ["video", "transcript", "deleted", "new"])
def test_files_that_changed_are_named_and_refused(tmp_path: Path, change: str) -> None:
    """Also where size and time stay: another video of the same length has its own inode or ctime."""
    run = begun(tmp_path)
    state = (run / "checkpoints" / LAST).read_bytes()
    data = tmp_path / "data"
    if change == "video":
        times = (data / "v1.mp4").stat()
        content = bytearray((data / "v1.mp4").read_bytes())
        (data / "v1.mp4").write_bytes(content)
        os.utime(data / "v1.mp4", ns=(times.st_atime_ns, times.st_mtime_ns))
        named = "v1.mp4 (changed)"
    elif change == "transcript":
        write_json(data / "v2.json", yt_temporal(19))
        named = "v2.mp4 (changed)"
    elif change == "deleted":
        (data / "v3.mp4").unlink()
        named = "v3.mp4 (gone)"
    else:
        write_seconds(data / "v9.mp4", 20)
        write_json(data / "v9.json", yt_temporal(20))
        named = "v9.mp4 (new)"
    with pytest.raises(UserError) as refused:
        resume(run)
    assert f"1 samples of the run in {run}, now at step 4, have other files: {named}; put them back" in str(
        refused.value
    )
    assert "changed_files=accept" in str(refused.value)
    assert (run / "checkpoints" / LAST).read_bytes() == state
    with pytest.raises(UserError):  # a refusal accepts nothing
        resume(run)


def test_a_copy_of_the_data_is_taken_where_that_is_asked_for_and_written_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = begun(tmp_path)
    before = weights(run)
    copy = shutil.copytree(tmp_path / "data", tmp_path / "copy")
    moved = f"data.sources.0.root={copy}"
    with pytest.raises(UserError, match=r"6 samples of .* and 1 more; put them back"):
        resume(run, [moved])
    resume(run, [moved, "changed_files=accept"])
    assert weights(run) == before
    assert "accepted, and recorded in" in caplog.text
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (record,) = [each for each in records if "changed_files" in each]
    assert record["changed_files_in_all"] == 6
    assert record["changed_files"][0] == "v0.mp4 (changed)"
    assert read_yaml((run / "place.yaml").read_text(), "place.yaml")["changed_files"] == "refuse"  # it was for once
    resume(run)  # these are now its files
    (copy / "v0.mp4").write_bytes((copy / "v1.mp4").read_bytes())
    with pytest.raises(UserError, match=r"v0\.mp4 \(changed\)"):
        resume(run)


def test_a_run_of_before_this_was_kept_goes_on_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = begun(tmp_path)
    (run / "source_files.parquet").unlink()
    resume(run)
    assert "does not say what the files of its sources were" in caplog.text
    assert (run / "source_files.parquet").is_file()


def test_a_run_without_a_state_begins_with_the_files_of_now(tmp_path: Path) -> None:
    run = begun(tmp_path)
    (run / "checkpoints" / LAST).unlink()
    for number in range(6):
        words = {"subtitles": [{"word": "other", "time": 0.5 * at} for at in range(40)], "info": {"duration": 20}}
        write_json(tmp_path / "data" / f"v{number}.json", words)
    resume(run)
    assert load_state(run / "checkpoints" / LAST).step == 4
    assert "other" in (run / "tokenizer.json").read_text()  # the vocabulary, too, is that of the new transcripts


def test_the_command_tells_a_grid_which_runs_read_other_files_now(tmp_path: Path) -> None:
    run, drawn = begun(tmp_path), tmp_path / "drawn/run"
    begin(*tiny(tmp_path / "drawn", "steps=1"))
    answer = CliRunner().invoke(app, ["changed", str(run), str(drawn)])
    assert json.loads(answer.stdout) == {str(run): [], str(drawn): []}
    write_json(tmp_path / "data/v2.json", yt_temporal(19))
    answer = CliRunner().invoke(app, ["changed", str(run), str(drawn)])
    assert json.loads(answer.stdout) == {str(run): ["v2.mp4 (changed)"], str(drawn): []}


def test_drawn_sources_have_no_files_to_ask_about(tmp_path: Path) -> None:
    begin(*tiny(tmp_path, "steps=2"))
    assert not (tmp_path / "run/source_files.parquet").exists()
