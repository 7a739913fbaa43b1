"""The grids: the paper's rows, settings that tvts-pretrain takes, cells that grids share, and keys made of content."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tvts_bench.ablations import plan as planning
from tvts_bench.ablations.commands import PretrainingError, resolve
from tvts_bench.ablations.grids import BUDGETS, FULL, GRIDS, QUICK, STANDARD, find_budget, find_grid
from tvts_bench.ablations.plan import GridRequest, Plan, Resources, plan
from tvts_bench.errors import UserError
from tvts_bench.results.grids import read_grid, write_grid

TINY = "scripted_motion_tiny"


@pytest.fixture(scope="module")
def resolved() -> dict[tuple[str, str], dict[str, Any]]:
    """What tvts-pretrain makes of every row of every grid, quick, seed 0."""
    rows = [(grid, row) for grid in GRIDS for row in grid.rows]
    asked = [GridRequest(grid=grid, budget=QUICK, out=Path("out")).settings(row, 0) for grid, row in rows]
    found = resolve(QUICK.preset, [[f"{key}={value}" for key, value in each.items()] for each in asked])
    return {(grid.name, row.name): config for (grid, row), config in zip(rows, found, strict=True)}


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The preset of a network of 128 x 4, resolved without a process: nothing but the settings."""

    def settings(preset: str, assignments: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        size = {"embed_dim": 32 if preset == "yt_temporal" else 128, "depth": 4, "patch_size": 16}
        pairs = [dict(each.split("=", 1) for each in one) for one in assignments]
        return [{"video": size, "preset": preset, **pair} for pair in pairs]

    monkeypatch.setattr(planning, "resolve", settings)


@pytest.fixture(autouse=True)
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Common starts that nobody trained, which would take a minute each."""
    monkeypatch.setattr(planning, "start_file", lambda seed, cache, make: _file(tmp_path / f"start-{seed}", b"weights"))


def planned(tmp_path: Path, grid: str = "objective", **changes: Any) -> Plan:
    return plan(GridRequest(grid=find_grid(grid), out=tmp_path, **{"budget": QUICK, **changes}))


def test_the_papers_rows_and_data_sets() -> None:
    rows = {grid.table: [row.name for row in grid.rows] for grid in GRIDS if grid.table}
    assert rows == {
        1: ["none", "transcript", "vcop", "merlot", "merlot_like"],
        2: ["scratch", "base", "sort_no_sg", "sort", "tvts_no_sg", "tvts"],
        3: ["none", "pairwise", "factorial", "k_way"],
    }
    sets = {grid.table: grid.datasets for grid in GRIDS if grid.table}
    assert sets == {1: ("ucf101", "hmdb51"), 2: ("ssv2", "k400"), 3: ("ssv2", "k400")}


@pytest.mark.parametrize("grid", GRIDS, ids=[grid.name for grid in GRIDS])
def test_rows_have_names_of_their_own_and_one_is_the_baseline(grid: Any) -> None:
    names = [row.name for row in grid.rows]
    assert len(set(names)) == len(names)
    assert grid.baseline in names


def test_each_row_means_what_its_name_says(resolved: dict[tuple[str, str], dict[str, Any]]) -> None:
    def objective(grid: str, row: str) -> tuple[Any, ...]:
        found = resolved[grid, row]["objective"]
        return tuple(found[key] for key in ("align", "sort", "target", "stop_gradient"))

    assert objective("sort-target", "none") == (True, "none", "transcript", True)
    assert objective("sort-target", "vcop") == (True, "factorial", "vcop", True)
    assert objective("sort-target", "merlot") == (True, "pairwise", "merlot", True)
    assert objective("sort-target", "merlot_like") == (True, "k_way", "merlot_like", True)
    assert objective("objective", "sort_no_sg") == (False, "k_way", "transcript", False)
    assert objective("objective", "sort") == (False, "k_way", "transcript", True)
    assert objective("objective", "tvts_no_sg") == (True, "k_way", "transcript", False)
    assert objective("sort-modeling", "factorial") == (True, "factorial", "transcript", True)
    assert resolved["num-transcripts", "3"]["objective"]["segments"] == 3
    assert resolved["mask-ratio", "0.75"]["model"]["mask"] == 0.75
    assert resolved["lambda", "8"]["objective"]["weight"] == 8
    assert resolved["segment-length", "2"]["data"]["lengths"] == [2.0]


def test_grids_share_cells(resolved: dict[tuple[str, str], dict[str, Any]]) -> None:
    base = resolved["sort-modeling", "none"]
    assert base == resolved["sort-target", "none"] == resolved["objective", "base"] == resolved["lambda", "0"]
    tvts = resolved["sort-modeling", "k_way"]
    assert tvts == resolved["sort-target", "transcript"] == resolved["objective", "tvts"]
    assert tvts == resolved["num-transcripts", "4"] == resolved["mask-ratio", "0"] == resolved["lambda", "4"]
    assert tvts == resolved["segment-length", "3"]
    assert base != tvts


@pytest.mark.slow
def test_what_tvts_pretrain_refuses_is_said_in_its_words() -> None:
    with pytest.raises(PretrainingError, match=r"unknown key 'stpes' \(did you mean steps"):
        resolve(TINY, [["stpes=3"]])


@pytest.mark.usefixtures("by_hand")
def test_a_file_of_the_users_that_is_called_as_our_package_is_not_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pretrain.py", "tvts_bench.py"):
        (tmp_path / name).write_text("raise SystemExit('not me')\n")
    monkeypatch.chdir(tmp_path)
    (config,) = resolve("scripted_motion_mini", [["seed=3"]])
    assert config["seed"] == 3
    for stage in planned(tmp_path).cells[0].job(Resources()).stages:
        started = subprocess.run([*stage.command[:4], "--help"], capture_output=True, text=True, check=False)
        assert "Usage" in started.stdout, started.stderr


def test_cells_are_keyed_by_content_not_by_name(tmp_path: Path) -> None:
    first, again = planned(tmp_path), planned(tmp_path / "elsewhere")
    keys = [cell.key for cell in first.cells]
    assert keys == [cell.key for cell in again.cells]
    assert len(set(keys)) == len(first.cells) == 6
    more_seeds = planned(tmp_path, seeds=3)
    assert [cell.key for cell in more_seeds.cells][:6] == keys
    assert len(more_seeds.cells) == 18
    longer = planned(tmp_path, changes={"steps": "7"})
    assert not {cell.key for cell in longer.cells if cell.row != "scratch"} & set(keys)
    assert longer.cells[0].key == keys[0], "random weights have no steps"
    elsewhere = planned(tmp_path, changes={"workers": "3"})
    assert [cell.key for cell in elsewhere.cells] == keys, "where it runs is in no key"


def test_other_weights_to_start_from_make_another_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, gone = (tmp_path / name for name in ("first.pth", "second.pth", "gone.pth"))
    first.write_bytes(b"1")
    second.write_bytes(b"2")
    start = tmp_path / "start.pth"
    config: dict[str, Any] = {"init": {"mae": str(start), "checkpoint": None}}
    monkeypatch.setattr(planning, "resolve", lambda preset, assignments: [config for _ in assignments])
    keys = []
    for weights in (first, second):
        start.unlink(missing_ok=True)
        start.hardlink_to(weights)
        keys.append(planned(tmp_path, "lambda").cells[0].key)
    assert keys[0] != keys[1]
    config["init"]["mae"] = str(gone)
    with pytest.raises(UserError, match=r"cannot read the weights to start from, .*gone\.pth: No such file"):
        planned(tmp_path, "lambda")


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_seeds_take_common_starts_in_turn_and_cells_go_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {0: b"a", 1: b"b", 2: b"c"}
    made: list[tuple[int, str | None]] = []

    def start(seed: int, cache: str | None, *, make: bool) -> Path:
        assert make
        made.append((seed, cache))
        return _file(tmp_path / f"start-{seed}", content[seed])

    def settings(preset: str, assignments: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        pairs = [dict(each.split("=", 1) for each in one) for one in assignments]
        return [{"init": {"start": int(one["init.start"])}, **one} for one in pairs]

    monkeypatch.setattr(planning, "start_file", start)
    monkeypatch.setattr(planning, "resolve", settings)
    before = planned(tmp_path, "sort-modeling", seeds=5, changes={"cache": "/x"})
    assert made == [(0, "/x"), (1, "/x"), (2, "/x")], "each once"
    starts = {cell.seed: cell.settings["init.start"] for cell in before.cells}
    assert starts == {0: "0", 1: "1", 2: "2", 3: "0", 4: "1"}
    content[1] = b"another"
    after = planned(tmp_path, "sort-modeling", seeds=5, changes={"cache": "/x"})
    for one, two in zip(before.cells, after.cells, strict=True):
        assert (one.key != two.key) == (one.seed in (1, 4))


def test_a_dry_run_makes_no_start_and_calls_keys_provisional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "start_file", lambda seed, cache, make: tmp_path / f"start-{seed}")
    monkeypatch.setattr(planning, "resolve", lambda preset, each: [{"init": {"start": 0}} for _ in each])
    request = GridRequest(grid=find_grid("sort-modeling"), out=tmp_path, budget=QUICK)
    assert planning.plan(request, make_starts=False).is_provisional
    with pytest.raises(FileNotFoundError):
        planning.plan(request)


@pytest.mark.usefixtures("by_hand")
def test_a_start_of_ones_own_takes_the_place_of_the_common_one(tmp_path: Path) -> None:
    for key in ("init.start", "init.checkpoint", "init.mae"):
        found = planned(tmp_path, "lambda", changes={key: "7"})
        assert {cell.settings[key] for cell in found.cells} == {"7"}
        assert all(key == "init.start" or "init.start" not in cell.settings for cell in found.cells)
    assert "init.start" not in planned(tmp_path, "lambda", pretrain="yt_temporal").cells[0].settings


@pytest.mark.usefixtures("by_hand")
def test_standard_goes_on_with_the_cells_of_quick(tmp_path: Path) -> None:
    quick = planned(tmp_path, "sort-modeling", seeds=QUICK.seeds)
    standard = planned(tmp_path, "sort-modeling", budget=STANDARD, seeds=STANDARD.seeds)
    assert [cell.key for cell in quick.cells] == [cell.key for cell in standard.cells][:4]
    assert len(standard.cells) == 20


@pytest.mark.usefixtures("by_hand")
def test_other_evaluations_are_other_stages_of_the_same_cell(tmp_path: Path) -> None:
    few, many = planned(tmp_path, protocols=("retrieval",)), planned(tmp_path, protocols=("retrieval", "finetune"))
    assert [cell.key for cell in few.cells] == [cell.key for cell in many.cells]
    names = [[stage.name for stage in found.cells[1].job(Resources()).stages] for found in (few, many)]
    assert len(names[0]) == 3
    assert len(names[1]) == 5
    assert set(names[0]) < set(names[1])
    real = planned(tmp_path, protocols=("retrieval",), data={"ssv2": "/data/ssv2"})
    stages = real.cells[1].job(Resources()).stages
    assert stages[1].name not in names[0]
    assert stages[2].name in names[0]
    assert "/data/ssv2" in stages[1].command
    assert "--dtype" not in stages[1].command  # as the device can


@pytest.mark.usefixtures("by_hand")
def test_the_commands_of_a_cell(tmp_path: Path) -> None:
    found = planned(tmp_path, "sort-target", seeds=2, protocols=("retrieval", "probe", "finetune"), budget=FULL)
    cell = next(cell for cell in found.cells if cell.name == "vcop:1")
    folder = tmp_path / "cells" / cell.key
    train, retrieval, probe, finetune = cell.job(Resources(threads=8, device="cpu")).stages[:4]
    assert train.command[3:] == (
        *("pretrain", "run", TINY, "objective.sort=factorial", "objective.target=vcop", "seed=1"),
        *("device=cpu", "workers=2", "threads=6", f"out={folder / 'run'}"),
    )
    assert train.resumed[3:] == ("pretrain", "resume", str(folder / "run"), "device=cpu", "workers=2", "threads=6")
    start = ("tvts_bench", "retrieval", "--ckpt", str(folder / "run/backbone.safetensors"))
    data = ("--dataset", "scripted_motion:ucf101", "--split", "test", "--gallery-split", "train")
    precision = ("--dtype", "fp32")  # whatever machine a cell of the built-in synthetic set runs on
    where = ("--device", "cpu", "--workers", "2", "--out", str(folder / "results" / retrieval.name))
    assert retrieval.command[3:] == (*start, *data, *precision, *where)
    assert "--seed" in probe.command
    assert finetune.command[finetune.command.index("--seed") :][1:3] == ("1", "--resume")


@pytest.mark.usefixtures("by_hand")
def test_random_weights_are_measured_not_trained(tmp_path: Path) -> None:
    cell = planned(tmp_path, seeds=2).only(["scratch:1"])[0]
    stages = cell.job(Resources()).stages
    assert {stage.protocol for stage in stages} == {"retrieval", "probe"}
    command = stages[0].command
    assert command[command.index("--backbone") :][:4] == ("--backbone", "tvts:mini", "--init-seed", "1")
    with pytest.raises(UserError, match=r"scratch needs random weights .* \(width 32, 4 blocks, patches of 16\)"):
        planned(tmp_path, pretrain="yt_temporal")


@pytest.mark.usefixtures("by_hand")
def test_only_some_cells(tmp_path: Path) -> None:
    found = planned(tmp_path, "sort-modeling", seeds=2)
    assert [cell.name for cell in found.only(["k_way"])] == ["k_way:0", "k_way:1"]
    assert [cell.name for cell in found.only(["k_way:1", "none:0"])] == ["none:0", "k_way:1"]
    assert found.only([]) == found.cells
    with pytest.raises(UserError, match=r"unknown cell 'kway' \(did you mean k_way"):
        found.only(["kway"])


@pytest.mark.usefixtures("by_hand")
def test_a_grid_of_one_key_takes_further_values(tmp_path: Path) -> None:
    grid = find_grid("lambda").with_values(["16", "8"])
    assert [row.name for row in grid.rows] == ["0", "0.5", "1", "2", "4", "8", "16"]
    cell = plan(GridRequest(grid=grid, budget=QUICK, out=tmp_path)).only(["16"])[0]
    assert "objective.weight=16" in cell.job(Resources()).stages[0].command
    with pytest.raises(ValueError, match="objective takes no other values"):
        find_grid("objective").with_values(["x"])


def test_a_value_that_is_there_in_other_words_is_no_row_more(tmp_path: Path) -> None:
    grid = find_grid("lambda").with_values(["2.0", "16"])
    found = plan(GridRequest(grid=grid, budget=QUICK, out=tmp_path, seeds=2))
    assert [row.name for row in found.record.rows] == ["0", "0.5", "1", "2", "4", "8", "16"]
    assert len(found.cells) == 14


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"protocols": ("retrieva",)}, r"unknown protocol 'retrieva' \(did you mean retrieval\?\)"),
        ({"data": {"ssv": "/x"}}, r"unknown data set of objective 'ssv' \(did you mean ssv2\?\)"),
        ({"changes": {"seed": "3"}}, "--set seed=3: --seeds says how many"),
        ({"changes": {"out": "x"}}, "--out says where everything goes"),
        ({"changes": {"objective.sort": "none"}}, "that is what objective varies"),
        ({"seeds": 0}, "--seeds must be at least 1, got 0"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        planned(tmp_path, **changes)


def test_unknown_grids_and_budgets_have_near_ones() -> None:
    assert find_grid("sort_modeling") is find_grid("sort-modeling")
    with pytest.raises(UserError, match=r"unknown grid 'sort-modelling' \(did you mean sort-modeling"):
        find_grid("sort-modelling")
    assert [find_budget(budget.name) for budget in BUDGETS] == list(BUDGETS)
    with pytest.raises(UserError, match="unknown preset of an ablation 'quik'"):
        find_budget("quik")


@pytest.mark.usefixtures("by_hand")
def test_the_record_of_a_grid_reads_back(tmp_path: Path) -> None:
    found = planned(tmp_path, "sort-modeling", seeds=2, changes={"steps": "7"})
    assert read_grid(tmp_path, "sort-modeling") is None
    write_grid(tmp_path, found.record)
    assert read_grid(tmp_path, "sort-modeling") == found.record
    assert found.record.changes["steps"] == "7"
    assert found.record.changes["checkpoint.every_steps"] == QUICK.settings["checkpoint.every_steps"]
    assert "samples" not in planned(tmp_path, changes={"samples": "/tmp/x"}).record.changes, "no place of this machine"
    assert found.record.rows[3].cells == {"0": found.cells[3].key, "1": found.cells[7].key}
    assert replace(found.record, rows=()).datasets == {"ssv2": None, "k400": None}
