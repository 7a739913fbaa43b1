"""Every published number: the files are those of the source, and each table holds what its file says."""

import csv
import hashlib
from pathlib import Path

import pytest

from tvts_bench import registry
from tvts_bench.tables.assemble import TableResults, assemble
from tvts_bench.tables.base import Table, published_value, read_published
from tvts_bench.tables.layout import lay_out
from tvts_bench.tables.model import as_document
from tvts_bench.tables.render import as_markdown

FOLDER = Path(__file__).parents[2] / "tvts_bench" / "tables" / "published"
NAMES = {"table1": "method", "table2": "name", "table3": "sort_modeling"}  # the field that names a row; else method
SHA256 = {  # of the files as they were copied, so that no number changes unnoticed
    "table1": "ec7463c2d542e73f78159e473ef67a06c8aa88168981835f5c4ba9a3c0c1c403",
    "table2": "d8f6b5031f1c86f9c0450062d326612a1d73e7ed92d9a525cf92a1468bb71a62",
    "table3": "781dfea01ac909953e9209e5099db86f992f182feee27f47434847165248bb06",
    "table4": "745c82d3a820c09bb27f9c29f91eeddef63ce3716662b9bcdd7326f629cc68be",
    "table5": "0efc45b793ae884eeb5cfc1ad894ab7d16562564683a6d86beb7d545479e2340",
    "table7": "5d7d4738cbbccfc94a790210c1dce565b12c62cfb284ccc468de4c82e85c4315",
}


def records(name: str) -> list[dict[str, str]]:
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(name: str) -> Table:
    found: Table = registry.load("tables", name).TABLE
    return found


@pytest.mark.parametrize("name", SHA256)
def test_the_files_are_those_of_the_source(name: str) -> None:
    assert hashlib.sha256((FOLDER / f"{name}.csv").read_bytes()).hexdigest() == SHA256[name]
    assert [dict(record) for record in read_published(name)] == records(name)


@pytest.mark.parametrize("name", SHA256)
def test_every_number_of_a_file_is_in_its_table_and_no_other(name: str, tmp_path: Path) -> None:
    declared = table(name)
    assert [row.name for row in declared.rows] == [record[NAMES.get(name, "method")] for record in records(name)]
    numbers = [column.name for column in declared.columns if column.published]
    assert numbers == [field for field in records(name)[0] if field.endswith(("_top1", "_r1", "_r5", "_r10"))]
    filled = assemble(declared, TableResults(cells={}, embedded=False), tmp_path)
    for row, record in zip(declared.rows, records(name), strict=True):
        for number in numbers:
            expected = published_value(record[number])
            assert row.published[number] == expected
            assert filled.cells[row.name, number].published == expected


@pytest.mark.parametrize("name", SHA256)
def test_the_numbers_are_printed_as_they_were_published(name: str, tmp_path: Path) -> None:
    declared = table(name)
    text = as_markdown(lay_out(as_document(assemble(declared, TableResults(cells={}, embedded=False), tmp_path))))
    lines = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines() if line.startswith("| ")}
    for row, record in zip(declared.rows, records(name), strict=True):
        cells = [cell.strip(" *") for cell in lines[row.name].strip("|").split("|")]
        numbers = [record[column.name] for column in declared.columns if column.published]
        first = 1 + len(declared.labels)
        assert cells[first : first + len(numbers)] == numbers
        assert not any(cells[first + len(numbers) :]), "nothing was measured"


def test_what_a_field_may_say() -> None:
    assert (published_value("14.7"), published_value("failed"), published_value("")) == (14.7, "failed", None)
