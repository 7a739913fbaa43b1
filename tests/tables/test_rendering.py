"""One filled table in every format: what stands where, what is escaped, and equal bytes for equal results."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.results import classification, coverage, found, retrieval
from tvts_bench.tables import table4
from tvts_bench.tables.assemble import TableResults, assemble
from tvts_bench.tables.layout import Heading, Line, TableLayout, Text, lay_out
from tvts_bench.tables.model import CellResults, FilledTable, as_document
from tvts_bench.tables.render import COLUMNS, as_json, as_latex, as_markdown, as_tidy_csv, terminal_tables, write_table

TVTS, L_BASE, RANDOM, PIXELS = (row.name for row in table4.TABLE.embedded_rows)
R1, LINEAR = "ssv2_v2v_r1", "ssv2_linear_top1"
ODD = TableLayout(
    title="50 % of A & B_1",
    headings=(Heading(text="method"), Heading(text="R@1", kind="measured", data="x|y")),
    lines=(Line(group="a_b", begins=True, texts=(Text(text="p < 5 $ ~^\\"), Text(text="1.0", bold=True, mark="*"))),),
    notes=("see #1 {x}", "by `x --split`"),
)


@pytest.fixture
def table(tmp_path: Path) -> FilledTable:
    """Three rows with numbers, one that failed; one row did not read all clips."""
    many = [[True, False]] * 9
    cells = {
        (TVTS, R1): found(retrieval([*many, [False, False]], backbone="a"), tmp_path),
        (L_BASE, R1): found(retrieval([[False, True]] * 9 + [[True, False]], backbone="b"), tmp_path),
        (RANDOM, R1): found(retrieval(many, backbone="c", parts=(coverage("val", 9, 10),)), tmp_path),
        (PIXELS, R1): CellResults(status="failed", reason="the loss is NaN"),
    }
    return assemble(table4.TABLE, TableResults(cells=cells, embedded=True), tmp_path)


def markdown_rows(text: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {cells[0]: cells[1:] for cells in rows}


def test_markdown_is_laid_out_as_in_the_paper(table: FilledTable) -> None:
    text = as_markdown(lay_out(as_document(table)))
    rows = markdown_rows(text)
    names = [row.name for row in table.rows]
    assert [name for name in rows if name in names] == names
    assert list(rows).index("*image*") < list(rows).index("CLIP") < list(rows).index("*ours*")
    heading = rows["method"]
    published = heading.index("R@1<br>published, SSV2")
    measured = heading.index("R@1<br>measured, part of ScriptedMotion (like SSV2)")
    assert rows["TVTS"][published] == "**14.7**"
    assert rows["SVT"][published] == "11.3"
    assert rows["TVTS"][measured] == ""
    assert (
        rows[TVTS][measured] == "90.0\\* [89.0, 91.0]"
    )  # nine queries found by it alone, one by the L_base-only baseline
    assert rows[RANDOM][measured].startswith("**100.0**")
    assert rows[PIXELS][measured] == "failed[a]"
    assert "- [a] the loss is NaN" in text
    assert rows[RANDOM][-1] == "ScriptedMotion (like SSV2) val 90 %"
    assert heading[-1] == "coverage"


def test_coverage_is_told_only_where_something_is_missing(tmp_path: Path) -> None:
    cells = {(TVTS, R1): found(retrieval([[True]] * 3), tmp_path)}
    complete = assemble(table4.TABLE, TableResults(cells=cells, embedded=True), tmp_path)
    assert "coverage" not in as_markdown(lay_out(as_document(complete)))


def test_coverage_of_a_row_is_that_of_its_least_covered_number(tmp_path: Path) -> None:
    most, all_of_it = (coverage("val", used, 10) for used in (9, 10))
    cells = {
        (TVTS, R1): found(retrieval([[True]], parts=(most,)), tmp_path),
        (TVTS, LINEAR): found(
            classification([True], evaluator="cached_probe", condition="linear", parts=(all_of_it,)), tmp_path
        ),
    }
    table = assemble(table4.TABLE, TableResults(cells=cells, embedded=True), tmp_path)
    assert markdown_rows(as_markdown(lay_out(as_document(table))))[TVTS][-1] == "ScriptedMotion (like SSV2) val 90 %"


def test_the_difference_stands_beside_the_published_number_on_real_data(tmp_path: Path) -> None:
    parts = (coverage("val", 24_777, 24_777, (24_777,)),)
    cells = {("TVTS", R1): found(retrieval([[True], [False]], dataset="ssv2", parts=parts), tmp_path)}
    real = assemble(table4.TABLE, TableResults(cells=cells, embedded=False), tmp_path)
    rows = markdown_rows(as_markdown(lay_out(as_document(real))))
    difference = rows["method"].index("R@1<br>measured less published, SSV2")
    assert rows["TVTS"][difference] == "+35.3"
    assert rows["CLIP"][difference] == ""


def test_tidy_csv_has_a_row_a_cell(table: FilledTable) -> None:
    rows = list(csv.DictReader(io.StringIO(as_tidy_csv(as_document(table)))))
    assert len(rows) == len(table.rows) * len(table.columns)
    assert tuple(rows[0]) == COLUMNS
    cells = {(row["row"], row["column"]): row for row in rows}
    ours = cells[TVTS, R1]
    assert float(ours["value"]) == 90.0
    assert (ours["low"], ours["high"], ours["n"], ours["best"]) == ("89.0", "91.0", "10", "0")
    assert float(ours["p"]) == pytest.approx(2 * 11 / 1024)
    assert (ours["baseline"], ours["test"], ours["pairs"]) == (L_BASE, "McNemar, exact", "10")
    assert ours["runs"] == table.cells[TVTS, R1].measured.runs[0].key  # type: ignore[union-attr]
    assert cells["TVTS", R1]["published"] == "14.7"
    assert cells["TVTS", R1]["value"] == ""
    assert cells[PIXELS, R1]["reason"] == "the loss is NaN"
    assert cells[RANDOM, R1]["coverage"] == "val 90"


def test_json_holds_everything(table: FilledTable, tmp_path: Path) -> None:
    document = json.loads(as_json(as_document(table)))
    cells = {(cell["row"], cell["column"]): cell for cell in document["cells"]}
    assert len(cells) == len(table.rows) * len(table.columns)
    ours = cells[TVTS, R1]
    assert (tmp_path / ours["measured"]["runs"][0]["file"]).is_file()
    assert ours["versus"]["significant"]
    assert cells[RANDOM, R1]["measured"]["parts"][0]["percent"] == 90.0
    assert cells[PIXELS, R1]["status"] == "failed"
    assert [column["name"] for column in document["columns"]] == [column.name for column in table.columns]
    assert document["notes"] == list(table.notes)


def test_latex_has_as_many_cells_in_each_row_as_columns(table: FilledTable) -> None:
    text = as_latex(lay_out(as_document(table)))
    (columns,) = (line for line in text.splitlines() if line.startswith("\\begin{tabular}"))
    count = len(columns.partition("}{")[2].rstrip("}"))
    body = [line for line in text.splitlines() if line.endswith("\\\\") and "\\multicolumn" not in line]
    assert len(body) == 1 + len(table.rows)
    assert {line.count("&") for line in body} == {count - 1}
    groups = next(line for line in text.splitlines() if "\\multicolumn{4}{c}{published, SSV2}" in line)
    assert "\\multicolumn{4}{c}{measured, part of ScriptedMotion (like SSV2)}" in groups
    assert text.count("\\begin{") == text.count("\\end{") == 2


def test_latex_escapes_what_it_would_take_for_commands() -> None:
    text = as_latex(ODD)
    assert r"\caption{50 \% of A \& B\_1}" in text
    assert r"p \textless{} 5 \$ \textasciitilde{}\textasciicircum{}\textbackslash{} & " in text
    assert r"\textbf{1.0}\textsuperscript{*} \\" in text
    assert r"\emph{a\_b}" in text
    assert r"by \textasciigrave{}x -{}-split\textasciigrave{}" in text
    assert r"see \#1 \{x\}\par" in text


def test_markdown_escapes_what_would_end_a_cell() -> None:
    text = as_markdown(ODD)
    assert "| R@1<br>measured, x\\|y |" in text
    assert "| p \\< 5 \\$ \\~^\\\\ | **1.0**\\* |" in text


def test_a_name_adds_no_line_and_no_argument_to_a_table() -> None:
    name = "[2cm]a\n\\end{table*}\x1b[2J\u202e"
    layout = replace(ODD, lines=(Line(group="", begins=False, texts=(Text(text=name), Text(text="1.0"))),))
    latex, plain = as_latex(layout), as_latex(ODD)
    (row,) = (line for line in latex.splitlines() if "2cm" in line)
    assert row.startswith("{}[2cm]a")  # after the line before, LaTeX would take it for a distance
    assert latex.count("\\end{") == plain.count("\\end{")
    assert len(as_markdown(layout).splitlines()) == len(as_markdown(ODD).splitlines()) - 1  # ODD's row begins a group
    for text in (latex, as_markdown(layout)):
        assert not {"\x1b", "\u202e"} & set(text)


@pytest.mark.parametrize(("width", "parts"), [(80, 2), (400, 1)])
def test_the_terminal_shows_all_numbers_at_any_width(width: int, parts: int, table: FilledTable) -> None:
    tables = terminal_tables(as_document(table), width)
    assert len(tables) == parts
    console = Console(width=width, record=True, file=io.StringIO())
    for part in tables:
        console.print(part)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    for words in (
        "CVRL",
        "50.5",
        "90.0*",
        "[89.0, 91.0]" if width > 80 else "[89.0,",
        "failed[a]",
        "VideoMAE (YT-Temporal)",
    ):
        assert any(words in line for line in lines), words


def test_equal_results_make_equal_bytes(table: FilledTable, tmp_path: Path) -> None:
    first, second = (write_table(as_document(table), tmp_path / name) for name in ("first", "second"))
    for suffix in (".md", ".csv", ".tex", ".json"):
        one, other = first.with_suffix(suffix), second.with_suffix(suffix)
        assert one.read_bytes() == other.read_bytes()
        assert one.parent == tmp_path / "first" / "tables"
    assert not list((tmp_path / "first").rglob("*.tmp"))
