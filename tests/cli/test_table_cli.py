"""The commands of tables on a small stand-in for the built-in synthetic set, and what they refuse."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.support.grids import RETRIEVAL, cell, grid
from tests.support.plain_videos import write_plain_video
from tests.support.results import retrieval
from tvts_bench.cli.main import app

MACHINE = ("--workers", "0", "--dtype", "fp32", "--cache", "cache", "--out", "out")


def call(*arguments: str, width: int = 200) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": str(width)})


@pytest.fixture
def world(tmp_path: Path, requested: list[Any]) -> list[Any]:
    """Two colours of seven videos in each of two splits in place of every data set; what was requested."""
    for number, split in enumerate(("train", "val")):
        for name, colour in {"red": (180, 20, 20), "blue": (20, 20, 180)}.items():
            for shade in range(7):
                shaded = [value + 8 * shade + 4 * number for value in colour]
                write_plain_video(tmp_path / "videos" / split / name / f"{split}{shade}.mp4", shaded)
    return requested


def cells(out: Path, table: str = "table4") -> dict[tuple[str, str], dict[str, Any]]:
    document = json.loads((out / "tables" / f"{table}.json").read_text())
    return {(found["row"], found["column"]): found for found in document["cells"]}


def test_table4_fills_the_embedded_rows_beside_the_papers_and_reuses_them(world: list[Any], tmp_path: Path) -> None:
    first = call("table4", *MACHINE)
    assert first.exit_code == 0, first.output
    assert world == [("scripted_motion:ssv2", None, None, 1, Path("cache"))]
    found = cells(tmp_path / "out")
    measured = {row for (row, _), each in found.items() if each["measured"]}
    assert measured == {"TVTS (shipped)", "L_base only (baseline)", "random initialisation", "pixels (mean colours)"}
    assert found["TVTS", "ssv2_linear_top1"]["published"] == 31.5
    for words in ("CVRL", "14.7", "built-in set", "linear top-1", "(cached)", "published: as in the paper"):
        assert words in first.stdout
    assert first.stderr.count("measuring ") == 8
    files = {path.name: path.read_bytes() for path in (tmp_path / "out" / "tables").iterdir()}
    assert set(files) == {"table4.md", "table4.csv", "table4.tex", "table4.json"}
    second = call("table4", *MACHINE)
    assert "measuring" not in second.stderr
    assert second.stdout == first.stdout
    assert {path.name: path.read_bytes() for path in (tmp_path / "out" / "tables").iterdir()} == files


def test_a_row_whose_weights_do_not_load_says_why_and_the_others_are_filled(world: list[Any], tmp_path: Path) -> None:
    Path("broken.pth").write_bytes(b"no weights")
    result = call("table4", "--ckpt", "tvts=broken.pth", *MACHINE, width=80)
    assert result.exit_code == 1, result.output
    found = cells(tmp_path / "out")
    assert found["TVTS", "ssv2_v2v_r1"]["status"] == "not run"
    assert "broken.pth" in found["TVTS", "ssv2_v2v_r1"]["reason"]
    assert found["TVTS (shipped)", "ssv2_v2v_r1"]["measured"]
    assert "not run[a]" in result.stdout
    assert "[a] TVTS: " in result.stdout


def test_real_data_fills_the_rows_that_have_weights_and_nothing_else(world: list[Any], tmp_path: Path) -> None:
    from tvts_bench.backbones.tvts import shipped

    weights = shipped("scripted_motion_tiny")
    lists = ("--annotations", "ssv2=lists")
    result = call("table4", "--ckpt", f"TVTS={weights}", "--data", f"SSV2={tmp_path}", *lists, *MACHINE)
    assert result.exit_code == 0, result.output
    assert world == [("ssv2", tmp_path, Path("lists"), 1, Path("cache"))]
    found = cells(tmp_path / "out")
    assert {row for (row, _), each in found.items() if each["measured"]} == {"TVTS"}
    assert all(each["difference"] is None for each in found.values()), "it is not SSV2 that was measured"
    assert "Measured on folder" in result.stdout


def test_a_backbone_that_the_paper_does_not_have_gets_a_row_of_its_own(world: list[Any], tmp_path: Path) -> None:
    from tvts_bench.backbones.tvts import shipped

    weights = shipped("scripted_motion_tiny")
    named = ("--ckpt", f"tvts:tiny={weights}", "--ckpt", f"dinov2={weights}")
    result = call("table4", *named, "--data", f"ssv2={tmp_path}", *MACHINE)
    assert result.exit_code == 1, result.output
    found = cells(tmp_path / "out")
    assert {row for (row, _), each in found.items() if each["measured"]} == {"tvts:tiny"}
    assert found["tvts:tiny", "ssv2_v2v_r1"]["published"] is None
    assert found["dinov2", "ssv2_v2v_r1"]["status"] == "not run"
    assert "not in the paper" in (tmp_path / "out/tables/table4.md").read_text(encoding="utf-8")


def test_without_cells_a_grids_table_shows_what_was_published_and_how_to_fill_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("table3", "--out", "out", width=80)
    assert result.exit_code == 0, result.output
    assert "nothing was measured" in result.stdout
    assert "68.5" in result.stdout
    assert "tvts-bench ablate sort-modeling" in result.stdout
    assert not any(found["measured"] for found in cells(Path("out"), "table3").values())


def test_cells_of_a_grid_fill_its_table(tmp_path: Path) -> None:
    grid(
        tmp_path / "ablations",
        {
            "none": {"0": cell(tmp_path / "ablations", "n0", 0, {RETRIEVAL: retrieval([[True], [False]])})},
            "k_way": {"0": cell(tmp_path / "ablations", "k0", 0, {}, {"pretrain": "loss is NaN at step 3"})},
        },
    )
    out = tmp_path / "out"
    result = call("table3", "--ablations", str(tmp_path / "ablations"), "--out", str(out))
    assert result.exit_code == 0, result.output
    found = cells(out, "table3")
    assert found["none", "ssv2_r1"]["measured"]["value"] == 50.0
    assert found["k_way", "ssv2_r1"]["status"] == "failed"
    assert "[a] seed 0: loss is NaN at step 3" in result.stdout
    assert "grid sort-modeling, quick: tvts-pretrain scripted_motion_tiny" in result.stdout


def test_published_cells_fill_a_table_until_there_are_cells_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, hits in (("out/published", [[True], [False]]), ("runs/ablations", [[True], [True]])):
        grid(Path(folder), {"none": {"0": cell(Path(folder), "n0", 0, {RETRIEVAL: retrieval(hits)})}})
        result = call("table3", "--out", "out")
        assert result.exit_code == 0, result.output
        assert f"cells from {folder}" in result.stderr
        found = cells(Path("out"), "table3")["none", "ssv2_r1"]["measured"]
        assert found["value"] == (50.0 if folder == "out/published" else 100.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("table4", "--data", "ssv3=DIR", "--ckpt", "TVTS=x"),
            "unknown data set of table4 'ssv3' (did you mean ssv2?)",
        ),
        (("table4", "--data", "k400=DIR", "--ckpt", "TVTS=x"), "unknown data set of table4 'k400'; there are: ssv2"),
        (("table4", "--ckpt", "TVST=x"), "unknown row of table4 'TVST' (did you mean TVTS?)"),
        (("table4", "--ckpt", "x.pth"), "--ckpt takes NAME=PATH, got 'x.pth'; names: CVRL, "),
        (("table4", "--ckpt", "TVTS="), "--ckpt takes NAME=PATH, got 'TVTS='"),
        (("table4", "--ckpt", "TVTS=a", "--ckpt", "tvts=b"), "--ckpt TVTS= is given twice: a and b"),
        (("table4", "--data", "ssv2=DIR"), "--data ssv2=DIR has nothing to be measured with: add --ckpt ROW=FILE"),
        (("table4", "--annotations", "ssv2=L"), "--annotations ssv2=... needs --data ssv2=DIR"),
        (("table4", "--data", "ssv2=nowhere", "--ckpt", "TVTS=x"), "data root nowhere does not exist"),
        (("table4", "--probe", "online"), "--probe must be one of cached, paper, got 'online'"),
        (("table5", "--probe", "paper"), "table5 has no linear probe"),
        (("table4", "--accumulate", "2"), "table4 fine-tunes nothing"),
        (("table4", "--baseline", "L_base"), "--baseline: unknown row of table4 'L_base'"),
        (("table4", "--ablations", "runs"), "table4 is filled by backbones here, not by a grid"),
        (("table3", "--ablations", "nowhere"), "--ablations nowhere holds no grid sort-modeling"),
        (("table3", "--ablations", "a.txt"), "--ablations a.txt holds no grid sort-modeling"),
        (("table3", "--out", "a.txt"), "cannot write to a.txt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("no folder")
    result = call(*arguments, "--cache", "cache", width=80)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_unknown_table_names_the_nearest() -> None:
    result = call("tabel4")
    assert result.exit_code == 2
    assert "table4" in result.stderr
