"""Tables from the files that `tvts-bench ablate` leaves, written here by its own functions."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.grids import FINETUNE, PROBE, RETRIEVAL, cell, grid
from tests.support.results import classification, retrieval, stored
from tvts_bench.results.grids import GridError, cell_folder, read_cell, write_cell
from tvts_bench.tables import table3
from tvts_bench.tables.grids import GridCells, folder_of_grid, read_grid_cells

R1, TOP1 = "ssv2_r1", "ssv2_top1"


def read(out: Path) -> GridCells:
    found = read_grid_cells(table3.TABLE, out)
    assert found is not None
    return found


def test_results_of_all_seeds_reach_their_row_and_column(tmp_path: Path) -> None:
    keys = {
        str(seed): cell(
            tmp_path,
            f"k{seed}",
            seed,
            {
                RETRIEVAL: retrieval([[True]], backbone=f"k{seed}", seeds=[seed], clip={"seed": seed}),
                FINETUNE: classification([True], backbone=f"k{seed}"),
            },
        )
        for seed in (1, 0)
    }
    grid(tmp_path, {"k_way": keys})
    cells = read(tmp_path)
    assert cells.embedded
    assert cells.remarks == ("grid sort-modeling, quick: tvts-pretrain scripted_motion_tiny steps=10",)
    assert set(cells.results) == {("k_way", R1), ("k_way", TOP1)}
    for column in (R1, TOP1):
        found = cells.results["k_way", column].stored
        assert [(seed, each.result.run.backbone["variant"]) for seed, each in found] == [(0, "k0"), (1, "k1")]


def test_a_cell_that_diverged_is_failed_and_the_others_are_right(tmp_path: Path) -> None:
    grid(
        tmp_path,
        {
            "none": {"0": cell(tmp_path, "n0", 0, {RETRIEVAL: retrieval([[True]])})},
            "k_way": {"0": cell(tmp_path, "k0", 0, {}, {"pretrain": "loss is NaN at step 3"})},
            "pairwise": {"0": cell(tmp_path, "p0", 0, {RETRIEVAL: retrieval([[True]])}, {FINETUNE: "time limit"})},
        },
    )
    found = read(tmp_path).results
    assert found["k_way", R1].status == found["k_way", TOP1].status == "failed"
    assert found["k_way", R1].reason == "seed 0: loss is NaN at step 3"
    assert found["none", R1].status == found["pairwise", R1].status == "measured"
    assert found["pairwise", R1].reason is None
    assert (found["pairwise", TOP1].status, found["pairwise", TOP1].reason) == ("failed", "seed 0: time limit")
    assert ("factorial", R1) not in found


def test_a_run_that_has_not_learned_to_sort_is_shown_and_marked(tmp_path: Path) -> None:
    seeds = {
        "0": cell(tmp_path, "k0", 0, {RETRIEVAL: retrieval([[True]])}, not_learned="sorting was not learned"),
        "1": cell(tmp_path, "k1", 1, {RETRIEVAL: retrieval([[True]])}, {FINETUNE: "time limit"}),
    }
    grid(tmp_path, {"k_way": seeds})
    results = read(tmp_path).results
    assert (results["k_way", R1].status, len(results["k_way", R1].stored)) == ("measured", 2)
    assert results["k_way", R1].reason == "seed 0: sorting was not learned"
    assert results["k_way", TOP1].reason == "seed 1: time limit", "what was not measured is not marked"


def test_one_seed_that_failed_leaves_the_others_and_is_said(tmp_path: Path) -> None:
    keys = {
        "0": cell(tmp_path, "k0", 0, {RETRIEVAL: retrieval([[True]])}),
        "1": cell(tmp_path, "k1", 1, {}, {"pretrain": "collapsed"}),
        "2": "never-begun",
    }
    grid(tmp_path, {"k_way": keys})
    found = read(tmp_path).results["k_way", R1]
    assert (found.status, found.reason, len(found.stored)) == ("measured", "seed 1: collapsed", 1)


def test_results_of_another_version_or_way_are_ignored_with_a_sentence(tmp_path: Path) -> None:
    grid(
        tmp_path,
        {
            "none": {"0": cell(tmp_path, "n0", 0, {RETRIEVAL: retrieval([[True]], backbone="n")})},
            "pairwise": {"0": cell(tmp_path, "p0", 0, {RETRIEVAL: retrieval([[True]], backbone="p")})},
            "factorial": {"0": cell(tmp_path, "f0", 0, {RETRIEVAL: retrieval([[True]], version="0.0.1")})},
            "k_way": {"0": cell(tmp_path, "k0", 0, {RETRIEVAL: retrieval([[True]], dtype="bf16")})},
        },
    )
    cells = read(tmp_path)
    assert set(cells.results) == {("none", R1), ("pairwise", R1)}
    assert any("made by tvts-bench 0.0.1" in sentence for sentence in cells.ignored)
    assert any("1 of 1 results of k_way" in sentence for sentence in cells.ignored)


def test_stages_that_the_grid_no_longer_asks_for_are_left_out(tmp_path: Path) -> None:
    other = "retrieval-ssv2-ffffffff"
    grid(tmp_path, {"k_way": {"0": cell(tmp_path, "k0", 0, {other: retrieval([[True]])})}})
    assert read(tmp_path).results == {}


def test_no_grid_no_cells_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    assert read_grid_cells(table3.TABLE, tmp_path) is None
    path = tmp_path / "grids" / "sort-modeling.json"
    path.parent.mkdir()
    for text in ("{", "[]", json.dumps({"schema": 99}), json.dumps({"schema": 1, "rows": 5})):
        path.write_text(text)
        with pytest.raises(GridError):
            read_grid_cells(table3.TABLE, tmp_path)


def test_a_damaged_published_grid_is_refused_and_no_other_takes_its_place(tmp_path: Path) -> None:
    table = table3.TABLE
    for folder in ("ablations", "ablations-elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{table.grid}.zip").write_bytes(b"no archive")
    (tmp_path / "ablations/notes.zip").write_bytes(b"an archive of something else")
    with pytest.raises(GridError, match=rf"cannot read .*ablations/{table.grid}\.zip"):
        folder_of_grid(table, tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"schema": 99}), json.dumps({"schema": 1, "stages": [5]})])
def test_a_damaged_cell_is_named_and_the_others_are_taken(tmp_path: Path, text: str) -> None:
    keys = {str(seed): cell(tmp_path, f"k{seed}", seed, {RETRIEVAL: retrieval([[True]])}) for seed in (0, 1)}
    grid(tmp_path, {"k_way": keys})
    path = cell_folder(tmp_path, "k1") / "cell.json"
    path.write_text(text)
    cells = read(tmp_path)
    assert [seed for seed, _ in cells.results["k_way", R1].stored] == [0]
    (sentence,) = cells.ignored
    assert sentence.startswith("ignored k_way:1: ")
    assert str(path) in sentence


def test_a_result_without_the_tables_number_is_named(tmp_path: Path) -> None:
    other = retrieval([[True]])
    bare = replace(other, metrics=other.metrics[1:])  # R@5
    online = classification([True], evaluator="online_probe", condition="linear, online")
    rows = {"none": {RETRIEVAL: bare}, "k_way": {PROBE: online}}
    grid(tmp_path, {name: {"0": cell(tmp_path, name, 0, results)} for name, results in rows.items()})
    cells = read(tmp_path)
    assert cells.results == {}
    assert any(sentence.endswith("it holds no R@1 (forward)") for sentence in cells.ignored)
    assert any("measured by online_probe, the table shows cached_probe" in sentence for sentence in cells.ignored)


def test_the_cell_of_another_row_or_seed_is_not_taken(tmp_path: Path) -> None:
    for name, seed in (("k_way", 0), ("pairwise", 0)):
        cell(tmp_path, name, seed, {RETRIEVAL: retrieval([[True]], backbone=name)})
    shutil.rmtree(cell_folder(tmp_path, "pairwise"))
    shutil.copytree(cell_folder(tmp_path, "k_way"), cell_folder(tmp_path, "pairwise"))
    rows = {"k_way": {"0": "k_way", "1": "k_way"}, "pairwise": {"0": "pairwise"}, "none": {"0": "../cells/k_way"}}
    grid(tmp_path, rows)
    cells = read(tmp_path)
    assert {key: len(each.stored) for key, each in cells.results.items()} == {("k_way", R1): 1}
    assert sum("is the record of another cell" in sentence for sentence in cells.ignored) == 2


def test_a_pretraining_that_failed_fails_only_what_the_grid_measures(tmp_path: Path) -> None:
    rows = {"k_way": {"0": cell(tmp_path, "k0", 0, {}, {"pretrain": "loss is NaN"})}}
    grid(tmp_path, rows, stages=(RETRIEVAL,))
    assert {key: each.status for key, each in read(tmp_path).results.items()} == {("k_way", R1): "failed"}


def test_a_seed_counts_once_however_many_results_its_stage_left(tmp_path: Path) -> None:
    key = cell(tmp_path, "k0", 0, {RETRIEVAL: retrieval([[True]])})
    record = read_cell(tmp_path, key)
    assert record is not None
    other = stored(retrieval([[False]], backbone="b"), cell_folder(tmp_path, key) / "results" / RETRIEVAL).path
    (only,) = record.stages
    files = (*only.results, other.relative_to(cell_folder(tmp_path, key)).as_posix())
    write_cell(tmp_path, replace(record, stages=(replace(only, results=files),)))
    grid(tmp_path, {"k_way": {"0": key}})
    cells = read(tmp_path)
    assert len(cells.results["k_way", R1].stored) == 1
    assert cells.ignored == (f"ignored {other}: another result of the same seed",)


def test_a_seed_that_is_no_number_is_refused(tmp_path: Path) -> None:
    grid(tmp_path, {"k_way": {"zero": cell(tmp_path, "k0", 0, {RETRIEVAL: retrieval([[True]])})}})
    with pytest.raises(GridError, match="a seed must be a whole number"):
        read_grid_cells(table3.TABLE, tmp_path)
