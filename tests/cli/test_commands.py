"""The commands as a user meets them: what they print, what they write, and how they end on bad input."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.command_line import Run
from tests.support.plain_videos import write_plain_video
from tvts_bench.cli.main import COMMANDS, main


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TVTS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Run()


MEASURE = ("retrieval", "--backbone", "pixels", "--dataset", "folder", "--workers", "0", "--dtype", "fp32")


@pytest.mark.parametrize("name", [name for name, _, _ in COMMANDS])
def test_every_command_teaches(run: Run, name: str) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_retrieval_prints_a_table_and_writes_everything(run: Run, videos: Path, tmp_path: Path) -> None:
    result = run(*MEASURE, "--root", str(videos), "--out", "out")
    assert result.exit_code == 0, result.output
    for words in ("R@1", "R@5", "95 % interval", "chance", "pixels", "8 of 8 clips used"):
        assert words in result.stdout
    (document,) = (tmp_path / "out").glob("*.json")
    saved = json.loads(document.read_text())
    assert saved["metrics"][0]["value"] == 100
    assert saved["run"]["evaluator"]["clip"]["num_frames"] == 16
    assert saved["provenance"]["versions"]["torch"]
    neighbors = pd.read_parquet(document.with_suffix(".neighbors.parquet"))
    assert len(neighbors) == 8 * 5
    assert document.with_suffix(".csv").exists()
    assert document.with_suffix(".md").exists()


def test_json_on_standard_output_is_the_file(run: Run, videos: Path, tmp_path: Path) -> None:
    result = run(*MEASURE, "--root", str(videos), "--out", "out", "--json", "--k", "1", "--k", "3")
    (document,) = (tmp_path / "out").glob("*.json")
    assert json.loads(result.stdout) == json.loads(document.read_text())
    assert [metric["name"] for metric in json.loads(result.stdout)["metrics"]] == ["R@1", "R@3", "mAP@R"]


def test_controls_are_a_table_of_their_own(run: Run, videos: Path) -> None:
    result = run(*MEASURE, "--root", str(videos), "--controls", "--k", "1")
    for words in ("forward", "shuffled", "reversed", "single"):
        assert words in result.stdout


def test_clips_that_cannot_be_read_are_listed(run: Run, videos: Path) -> None:
    (videos / "red" / "zero.mp4").touch()
    (videos / "red" / "text.mp4").write_text("hello")
    (videos / "blue" / "folder.mp4").mkdir()
    result = run(*MEASURE, "--root", str(videos))
    assert result.exit_code == 0
    assert "8 of 11 clips used, 3 failed" in result.stdout
    for name in ("zero.mp4", "text.mp4", "folder.mp4"):
        assert name in result.stderr
    assert "3 of 11 clips" in run.refused(*MEASURE, "--root", str(videos), "--strict")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--root", "nowhere"), "nowhere does not exist"),
        (("--root", "empty"), "empty"),
        ((), "--root"),
        (("--root", "videos", "--k", "8"), "--k 8"),
        (("--root", "videos", "--k", "0"), "--k"),
        (("--root", "videos", "--split", "val"), "'val'"),
        (("--root", "videos", "--device", "cuda:99"), "cuda:99"),
        (("--root", "videos", "--dtype", "int4"), "int4"),
        (("--root", "videos", "--decoder", "vlc"), "'vlc'"),
        (("--root", "videos", "--sampling", "best"), "'best'"),
        (("--root", "videos", "--views", "2by3"), "'2by3'"),
        (("--root", "videos", "--views", "1x2"), "spatial_views"),
        (("--root", "videos", "--frames", "-4"), "-4"),
        (("--root", "videos", "--frames", "100000"), "GiB"),
        (("--root", "videos", "--seeds", "3"), "3 seeds"),
        (("--root", "videos", "--backbone", "pixel"), "did you mean pixels"),
        (("--root", "videos", "--dataset", "folders"), "did you mean folder"),
        (("--root", "videos", "--ckpt", "gone.pth", "--backbone", "tvts"), "gone.pth"),
        (("--root", "videos", "--exclude-same-group"), "leave out --exclude-same-group"),
        (("--root", "videos", "--clip-timeout", "nan"), "clip_timeout"),
        (("--root", "x" * 300), "File name too long"),
        (("--root", "videos", "--ckpt", "x" * 300, "--backbone", "tvts"), "File name too long"),
        (("--root", "videos", "--out", "a_file/results"), "--out"),
        (("--root", "videos", "--cache", "a_file/cache"), "--cache"),
    ],
)
def test_bad_input_is_one_sentence(
    run: Run, videos: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a_file").write_text("in the way")
    assert words in run.refused(*MEASURE, *arguments)


@pytest.mark.parametrize("option", ["--seed", "--init-seed"])
@pytest.mark.parametrize("value", ["-1", str(2**32)])
def test_a_seed_that_no_generator_takes_is_refused_at_once(run: Run, videos: Path, option: str, value: str) -> None:
    result = run(*MEASURE, "--root", str(videos), option, value)
    assert result.exit_code == 2
    assert f"{option} must be at " in result.stderr
    assert not Path("results").exists()


def test_names_that_are_not_utf8_reach_every_file(run: Run, videos: Path, tmp_path: Path) -> None:
    (videos / "red" / "0.mp4").rename(os.fsdecode(os.fsencode(videos) + b"/red/caf\xe9.mp4"))
    Path(os.fsdecode(os.fsencode(videos) + b"/red/\xff.mp4")).touch()
    result = run(*MEASURE, "--root", str(videos), "--out", "out", "--json")
    assert result.exit_code == 0, result.output
    (document,) = (tmp_path / "out").glob("*.json")
    assert json.loads(document.read_text()) == json.loads(result.stdout)
    assert "red/\udcff.mp4" in json.loads(result.stdout)["coverage"][0]["failed"]
    assert r"red/caf\udce9.mp4" in set(pd.read_parquet(document.with_suffix(".neighbors.parquet"))["query"])
    for suffix in ("parquet", "csv", "npz"):
        embedded = run("embed", str(videos), *EMBED, "--out", f"features.{suffix}")
        assert embedded.exit_code == 0, embedded.output


def test_a_root_needs_the_name_of_its_data_set(run: Run, videos: Path) -> None:
    assert "--dataset" in run.refused("retrieval", "--backbone", "pixels", "--root", str(videos))


def test_debug_shows_where_an_error_came_from(run: Run, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [*MEASURE, "--root", "nowhere", "--debug"]
    monkeypatch.setattr("sys.argv", ["tvts-bench", *arguments])
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr


EMBED = ("--backbone", "pixels", "--workers", "0", "--dtype", "fp32")


@pytest.mark.parametrize("suffix", ["parquet", "npz", "csv"])
def test_embed_writes_one_row_a_video(run: Run, videos: Path, tmp_path: Path, suffix: str) -> None:
    result = run("embed", str(videos), *EMBED, "--out", f"features.{suffix}")
    assert result.exit_code == 0, result.output
    path = tmp_path / f"features.{suffix}"
    if suffix == "parquet":
        frame = pd.read_parquet(path)
        ids, values = list(frame["id"]), np.stack(list(frame["embedding"]))
    elif suffix == "npz":
        arrays = np.load(path)
        ids, values = list(arrays["ids"]), arrays["values"]
        assert json.loads(str(arrays["provenance"]))["backbone"] == "pixels:mean8x8"
    else:
        frame = pd.read_csv(path)
        ids, values = list(frame["id"]), frame.iloc[:, 1:].to_numpy()
    assert len(ids) == 8
    assert all(Path(item).suffix == ".mp4" for item in ids)
    assert values.shape == (8, 192)
    assert np.isfinite(values).all()


def test_embed_refuses_what_it_cannot_do(run: Run, videos: Path, tmp_path: Path) -> None:
    assert "gone.mp4 does not exist" in run.refused("embed", "gone.mp4", *EMBED)
    (tmp_path / "text.mp4").write_text("hello")
    assert "text.mp4" in run.refused("embed", "text.mp4", *EMBED)
    (tmp_path / "nothing").mkdir()
    assert "no video in" in run.refused("embed", "nothing", *EMBED)
    assert ".xlsx" in run.refused("embed", str(videos), *EMBED, "--out", "features.xlsx")
    (tmp_path / "folder.csv").mkdir()
    before = sorted((tmp_path / "cache").rglob("*"))
    assert "is a folder" in run.refused("embed", str(videos), *EMBED, "--out", "folder.csv")
    assert sorted((tmp_path / "cache").rglob("*")) == before  # said before anything was computed


def test_search_finds_the_nearest_and_not_the_query_itself(run: Run, videos: Path) -> None:
    query = videos / "red" / "0.mp4"
    result = run("search", str(query), str(videos), *EMBED, "--k", "3", "--json")
    assert result.exit_code == 0, result.output
    found = [Path(hit["path"]) for hit in json.loads(result.stdout)]
    assert {path.parent.name for path in found} == {"red"}
    assert query not in found
    table = run("search", str(query), str(videos), *EMBED, "--k", "3")
    assert "cosine" in table.stdout


def test_search_finds_a_file_of_several_names_once(run: Run, videos: Path) -> None:
    (videos / "red" / "again.mp4").symlink_to("1.mp4")
    (videos / "red" / "circle.mp4").symlink_to("circle.mp4")
    result = run("search", str(videos / "red" / "0.mp4"), str(videos), *EMBED, "--k", "7", "--json")
    assert result.exit_code == 0, result.output
    names = {hit["path"].removeprefix(str(videos)) for hit in json.loads(result.stdout)}
    assert names == {f"/blue/{i}.mp4" for i in range(4)} | {"/red/1.mp4", "/red/2.mp4", "/red/3.mp4"}


def test_search_with_a_query_from_elsewhere(run: Run, videos: Path, tmp_path: Path) -> None:
    query = write_plain_video(tmp_path / "query.mp4", (0, 0, 230))
    result = run("search", str(query), str(videos), *EMBED, "--k", "1", "--json")
    assert Path(json.loads(result.stdout)[0]["path"]).parent.name == "blue"
    assert "not a folder" in run.refused("search", str(query), str(query), *EMBED)
    assert "8" in run.refused("search", str(query), str(videos), *EMBED, "--k", "9")


def test_an_unknown_option_names_the_nearest(run: Run) -> None:
    result = run("retrieval", "--bakcbone", "pixels")
    assert result.exit_code == 2
    assert "--backbone" in result.stderr


@pytest.mark.parametrize(("given", "used"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_leave_their_core_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: str | None, used: str
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", given or "-")
    if given is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr("sys.argv", ["tvts-bench", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ["OMP_WAIT_POLICY"] == used
