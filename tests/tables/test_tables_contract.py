"""What holds of every table that is listed: names, protocols, rows of its grid."""

from dataclasses import replace
from typing import cast

import pytest

from tvts_bench import registry
from tvts_bench.ablations.grids import find_grid
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.datasets.loading import dataset_info
from tvts_bench.tables import PLUGINS
from tvts_bench.tables.base import EMBEDDED, TITLES, Table


@pytest.fixture(params=PLUGINS)
def table(request: pytest.FixtureRequest) -> Table:
    return cast(Table, registry.load("tables", request.param).TABLE)


def test_names_are_the_modules_and_unique(table: Table) -> None:
    assert table.name in PLUGINS
    for names in ([row.name for row in (*table.rows, *table.embedded_rows)], [column.name for column in table.columns]):
        assert len(set(names)) == len(names)
    assert not any("=" in row.name for row in table.rows), "the command line splits there"


def test_a_row_says_something_in_every_label_column(table: Table) -> None:
    assert all(set(row.labels) == set(table.labels) for row in table.rows)


def test_each_column_has_data_on_both_worlds_and_protocols_that_exist(table: Table) -> None:
    for column in table.columns:
        assert dataset_info(column.dataset).num_classes
        assert column.dataset in dataset_info(EMBEDDED).variants
        assert column.dataset in TITLES
        for protocol in column.protocols:
            default = registry.load("evaluators", protocol.evaluator).DEFAULT
            assert replace(default, **protocol.settings).name == protocol.evaluator


def test_baselines_are_rows(table: Table) -> None:
    assert set(table.baselines) <= {row.name for row in (*table.rows, *table.embedded_rows)}


def test_embedded_rows_have_a_backbone_that_loads(table: Table) -> None:
    for row in table.embedded_rows:
        assert load_backbone(row.backbone).embed_dim
    assert all(row.backbone is None for row in table.rows)


def test_rows_and_data_sets_are_those_of_the_grid(table: Table) -> None:
    if table.grid is None:
        assert table.embedded_rows
        assert all(row.cell is None for row in table.rows)
        return
    grid = find_grid(table.grid)
    assert f"table{grid.table}" == table.name
    assert [row.cell for row in table.rows] == [row.name for row in grid.rows]
    assert table.datasets == grid.datasets
    assert {row.name: row.cell for row in table.rows}[table.baselines[0]] == grid.baseline
