"""A table filled with results made by hand: what is compared with what, and what is called how."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.results import (
    SSV2_TRAIN,
    SSV2_VAL,
    classification,
    coverage,
    found,
    retrieval,
    seeded,
)
from tvts_bench.tables import table3, table4, table5, table7
from tvts_bench.tables.assemble import TableResults, assemble
from tvts_bench.tables.base import CACHED_PROBE, ONLINE_PROBE, dataset_in_words
from tvts_bench.tables.model import CellResults, FilledTable

TVTS, L_BASE = "TVTS (shipped)", "L_base only (baseline)"
R1, R5, LINEAR = "ssv2_v2v_r1", "ssv2_v2v_r5", "ssv2_linear_top1"
HIT, SECOND, MISS = [True, False], [False, True], [False, False]


def embedded(tmp_path: Path) -> FilledTable:
    """TVTS finds q0 to q5 at once, the L_base-only baseline q5 alone, and q0 to q4 as second; nobody finds q6."""
    ours = found(retrieval([HIT] * 6 + [MISS], backbone="ours"), tmp_path)
    l_base = found(retrieval([SECOND] * 5 + [HIT, MISS], backbone="l_base"), tmp_path)
    cells = {(TVTS, R1): ours, (TVTS, R5): ours, (L_BASE, R1): l_base, (L_BASE, R5): l_base}
    return assemble(table4.TABLE, TableResults(cells=cells, embedded=True), tmp_path)


def test_the_embedded_world_is_named_and_never_compared_with_published_numbers(tmp_path: Path) -> None:
    table = embedded(tmp_path)
    assert table.title.endswith("Measured on the built-in synthetic set ScriptedMotion, not on SSV2")
    assert table.measured_on[R1] == "ScriptedMotion (like SSV2)"
    assert all(cell.difference is None for cell in table.cells.values())
    paper = table.cells["TVTS", R1]
    assert (paper.published, paper.measured, paper.status) == (14.7, None, "")
    assert any("cannot be compared" in note for note in table.notes)


def test_a_cell_has_its_interval_its_chance_and_the_run_behind_it(tmp_path: Path) -> None:
    cell = embedded(tmp_path).cells[TVTS, R1]
    measured = cell.measured
    assert measured is not None
    assert measured.value == pytest.approx(600 / 7)
    assert (measured.low, measured.high) == (measured.value - 1, measured.value + 1)
    assert (measured.clips, measured.chance, measured.spread) == (7, 4.0, None)
    (behind,) = measured.runs
    assert (tmp_path / behind.file).exists()
    assert behind.key[:12] in behind.file
    assert behind.backbone["variant"] == "ours"


def test_the_best_of_a_column_is_marked_ties_too_and_published_numbers_by_themselves(tmp_path: Path) -> None:
    table = embedded(tmp_path)
    assert {row: table.cells[row, R1].best for row in (TVTS, L_BASE)} == {TVTS: True, L_BASE: False}
    assert all(table.cells[row, R5].best for row in (TVTS, L_BASE))
    assert [row.name for row in table.rows if table.cells[row.name, R1].best_published] == ["TVTS"]


def test_rows_are_tested_against_the_baseline_over_the_same_queries(tmp_path: Path) -> None:
    table = embedded(tmp_path)
    assert table.baseline == L_BASE
    versus = table.cells[TVTS, R1].versus
    assert versus is not None
    # q0 to q4 are found by TVTS alone: p = 2 / 2^5.
    assert versus.test.p == pytest.approx(1 / 16)
    assert versus.test.difference == pytest.approx(500 / 7)
    assert not versus.significant
    equal = table.cells[TVTS, R5].versus
    assert equal is not None
    assert (equal.test.difference, equal.test.p) == (0.0, 1.0)
    assert table.cells[L_BASE, R1].versus is None
    assert f"{TVTS} less {L_BASE}: R@1 +71.43" in "\n".join(table.notes)


def test_another_baseline_can_be_named(tmp_path: Path) -> None:
    cells = {(TVTS, R1): found(retrieval([HIT, MISS]), tmp_path)}
    findings = TableResults(cells=cells, embedded=True, baseline="pixels (mean colours)")
    table = assemble(table4.TABLE, findings, tmp_path)
    assert table.baseline is None
    assert "nothing is tested: the row pixels (mean colours) has no number" in table.notes
    named = assemble(table4.TABLE, replace(findings, baseline=TVTS), tmp_path)
    assert named.baseline == TVTS


def test_without_what_each_clip_scored_nothing_is_tested_and_that_is_said(tmp_path: Path) -> None:
    cells = {
        (row, R1): found(retrieval([HIT, MISS], backbone=name), tmp_path) for row, name in ((TVTS, "a"), (L_BASE, "b"))
    }
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    table = assemble(table4.TABLE, TableResults(cells=cells, embedded=True), tmp_path)
    assert table.cells[TVTS, R1].versus is None
    assert any(note.startswith(f"{TVTS} is not tested against {L_BASE} in R@1") for note in table.notes)


@pytest.mark.parametrize(
    ("used", "listed", "compared", "name"),
    [
        (SSV2_VAL, SSV2_VAL, True, "SSV2"),
        (24_776, 24_776, True, "SSV2"),  # the list in circulation, which is in `official`, too
        (SSV2_VAL - 1, SSV2_VAL, False, "part of SSV2"),
        (3_000, 3_000, False, "part of SSV2"),
    ],
)
def test_a_difference_only_on_all_of_the_real_data(
    used: int, listed: int, compared: bool, name: str, tmp_path: Path
) -> None:
    parts = (coverage("val", used, listed, (SSV2_VAL, 24_776)),)
    cells = {("TVTS", R1): found(retrieval([HIT, MISS], dataset="ssv2", parts=parts), tmp_path)}
    table = assemble(table4.TABLE, TableResults(cells=cells, embedded=False), tmp_path)
    cell = table.cells["TVTS", R1]
    assert cell.difference == (pytest.approx(50 - 14.7) if compared else None)
    assert table.measured_on[R1] == name
    assert table.title.endswith(f"Measured on {name}")
    measured = cell.measured
    assert measured is not None
    assert measured.complete == compared
    assert measured.parts[0].percent == (100 if compared else pytest.approx(min(99.99, 100 * used / SSV2_VAL)))


def test_a_training_split_that_was_cut_is_a_part_of_the_data_too(tmp_path: Path) -> None:
    parts = (coverage("val", SSV2_VAL, SSV2_VAL, (SSV2_VAL,)), coverage("train", 100, 100, (SSV2_TRAIN,)))
    result = classification([True, False], dataset="ssv2", parts=parts)
    table = assemble(
        table5.TABLE, TableResults(cells={("TVTS", "ssv2_top1"): found(result, tmp_path)}, embedded=False), tmp_path
    )
    assert table.cells["TVTS", "ssv2_top1"].difference is None
    assert table.measured_on["ssv2_top1"] == "part of SSV2"
    assert table.measured_on["k400_top1"] == "K400"  # nothing was measured there
    assert table.title.endswith("Measured on part of SSV2")


def test_another_protocol_than_the_papers_is_not_compared(tmp_path: Path) -> None:
    parts = (coverage("val", SSV2_VAL, SSV2_VAL, (SSV2_VAL,)), coverage("train", SSV2_TRAIN, SSV2_TRAIN, (SSV2_TRAIN,)))
    for protocol, compared in ((CACHED_PROBE, False), (ONLINE_PROBE, True)):
        result = classification(
            [True, False], dataset="ssv2", parts=parts, evaluator=protocol.evaluator, condition=protocol.condition
        )
        findings = TableResults(
            cells={("TVTS", LINEAR): found(result, tmp_path)}, protocols={LINEAR: protocol}, embedded=False
        )
        table = assemble(table4.TABLE, findings, tmp_path)
        assert (table.cells["TVTS", LINEAR].difference is not None) == compared
        assert table.protocols[LINEAR] == protocol


def test_a_look_alike_in_the_place_of_the_data_is_called_by_its_own_name(tmp_path: Path) -> None:
    cells = {
        ("TVTS", "ucf101_top1"): found(classification([True, False], dataset="scripted_motion-ucf101-fold1"), tmp_path)
    }
    table = assemble(table7.TABLE, TableResults(cells=cells, embedded=False), tmp_path)
    assert table.measured_on["ucf101_top1"] == "ScriptedMotion (like UCF-101, split 1)"
    assert table.cells["TVTS", "ucf101_top1"].difference is None
    assert dataset_in_words("hmdb51-fold2") == "HMDB-51, split 2"


def test_what_failed_and_what_could_not_be_run_keep_their_reasons(tmp_path: Path) -> None:
    cells = {
        (TVTS, R1): CellResults(status="failed", reason="the loss is NaN"),
        (L_BASE, R1): CellResults(status="not run", reason="no such file"),
    }
    table = assemble(table4.TABLE, TableResults(cells=cells, embedded=True), tmp_path)
    assert table.cells[TVTS, R1].status == "failed"
    assert table.cells[L_BASE, R1].reason == "no such file"
    assert table.title.endswith("Published numbers; nothing was measured")
    assert table.baseline is None


def of_seeds(name: str, right: dict[int, int], out: Path) -> CellResults:
    """A result a seed, with so many of ten clips right."""
    return seeded(
        {
            seed: classification([number < hits for number in range(10)], backbone=f"{name}{seed}")
            for seed, hits in right.items()
        },
        out,
    )


def test_seeds_are_averaged_and_compared_pairwise(tmp_path: Path) -> None:
    column = "ssv2_top1"
    cells = {
        ("none", column): of_seeds("none", {0: 1, 1: 2, 2: 3}, tmp_path),
        ("k_way", column): of_seeds("k_way", {0: 2, 1: 4, 2: 6}, tmp_path),
        ("pairwise", column): of_seeds("pairwise", {0: 5}, tmp_path),
    }
    table = assemble(table3.TABLE, TableResults(cells=cells, embedded=True), tmp_path)
    assert "fewer than 3 seeds in ScriptedMotion (like SSV2) fine-tuned top-1: pairwise 1" in table.notes
    cell = table.cells["k_way", column]
    assert cell.measured is not None
    assert cell.measured.value == pytest.approx(40.0)
    assert cell.measured.spread == pytest.approx(20.0)
    assert [run.seed for run in cell.measured.runs] == [0, 1, 2]
    assert cell.measured.low is not None
    assert cell.measured.low < 40 < (cell.measured.high or 0)
    assert cell.versus is not None
    assert (cell.versus.test.test, cell.versus.test.pairs) == ("paired t, over seeds", 3)
    assert cell.versus.test.difference == pytest.approx(20.0)
    # Differences 10, 20, 30: t = 2 sqrt(3) with two degrees of freedom.
    assert cell.versus.test.p == pytest.approx(1 - 12**0.5 / 14**0.5)
    alone = table.cells["pairwise", column].versus
    assert alone is not None
    assert (alone.test.test, alone.test.difference) == ("McNemar, exact", 40.0), (
        "over the clips of the seed that both have"
    )
    assert alone.test.p == pytest.approx(0.125)  # four clips that only one gets right
    assert any("fine-tuned top-1 +40.00" in note and note.endswith("p = 0.12 (seed 0 alone)") for note in table.notes)
    assert any("mean of 1 to 3 seeds" in note for note in table.notes)
    del cells["pairwise", column]
    table = assemble(table3.TABLE, TableResults(cells=cells, embedded=True), tmp_path)
    mean = "mean of 3 seeds of pretraining ± their standard deviation, which the intervals leave out"
    assert any(note.endswith(mean) for note in table.notes)
    one = {("pairwise", column): of_seeds("pairwise", {0: 5}, tmp_path)}
    table = assemble(table3.TABLE, TableResults(cells=one, embedded=True), tmp_path)
    assert any("one seed of pretraining: intervals and tests say nothing about another" in note for note in table.notes)


def test_rows_are_compared_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    column = "ssv2_top1"
    cells = {
        ("none", column): of_seeds("none", {0: 1, 1: 2}, tmp_path),
        ("k_way", column): of_seeds("k_way", {0: 3, 1: 5, 2: 9}, tmp_path),
        ("pairwise", column): of_seeds("pairwise", {2: 9, 3: 8}, tmp_path),
    }
    table = assemble(table3.TABLE, TableResults(cells=cells, embedded=True), tmp_path)
    shared = table.cells["k_way", column].versus
    assert shared is not None
    assert shared.test.pairs == 2
    assert shared.test.difference == pytest.approx(25.0)  # of 20 and 30, seed 2 left out
    assert any("fine-tuned top-1 +25.00" in note and note.endswith("(seeds 0, 1 alone)") for note in table.notes)
    assert table.cells["pairwise", column].versus is None, "no seed is in both"
    assert any(note.startswith("pairwise is not tested against none") for note in table.notes)


def test_a_column_of_one_seed_beside_others_is_called_so(tmp_path: Path) -> None:
    cells = {
        ("none", "ssv2_top1"): of_seeds("none", {0: 1, 1: 2}, tmp_path),
        ("none", "ssv2_r1"): seeded({0: retrieval([HIT, MISS])}, tmp_path),
    }
    table = assemble(table3.TABLE, TableResults(cells=cells, embedded=True), tmp_path)
    said = (
        "one seed of pretraining in ScriptedMotion (like SSV2) R@1: intervals and tests there say nothing about another"
    )
    assert said in table.notes


def test_intervals_that_are_not_there_are_not_promised(tmp_path: Path) -> None:
    cells = {
        (row, "ssv2_top1"): seeded({seed: classification([True], backbone=f"{row}{seed}") for seed in (0, 1)}, tmp_path)
        for row in ("none", "k_way")
    }

    def said() -> str:
        table = assemble(table3.TABLE, TableResults(cells=cells, embedded=True), tmp_path)
        return next(note for note in table.notes if note.startswith("measured: "))

    why = "what each clip scored is not there beside the results"
    assert said().startswith("measured: percent, with 95 % bootstrap intervals over queries or clips; mean of 2 seeds")
    cells["none", "ssv2_top1"].stored[0][1].path.with_suffix(".logits.parquet").unlink()
    assert f"over queries or clips; none where {why}; mean" in said()
    cells["k_way", "ssv2_top1"].stored[0][1].path.with_suffix(".logits.parquet").unlink()
    assert said() == (
        f"measured: percent, without intervals: {why}; mean of 2 seeds of pretraining ± their standard deviation"
    )


def test_files_are_named_from_the_folder_of_the_table_wherever_the_command_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("results")
    cells = {("none", "ssv2_r1"): found(retrieval([HIT]), Path("runs/cell"))}
    table = assemble(table3.TABLE, TableResults(cells=cells, embedded=True), out)
    measured = table.cells["none", "ssv2_r1"].measured
    assert measured is not None
    assert measured.runs[0].file.startswith("../runs/cell/")
    out.mkdir()
    assert (tmp_path / out / measured.runs[0].file).is_file()


def test_columns_of_our_own_are_shown_only_where_they_were_measured(tmp_path: Path) -> None:
    nothing = assemble(table3.TABLE, TableResults(cells={}, embedded=False), tmp_path)
    assert [column.name for column in nothing.columns] == ["ssv2_top1", "k400_top1"]
    cells = {("none", "ssv2_r1"): found(retrieval([HIT, MISS]), tmp_path)}
    some = assemble(table3.TABLE, TableResults(cells=cells, embedded=True), tmp_path)
    assert [column.name for column in some.columns] == ["ssv2_top1", "k400_top1", "ssv2_r1"]
