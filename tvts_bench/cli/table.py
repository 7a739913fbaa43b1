"""`tvts-bench table1` to `table7`: the paper's tables, filled with what was measured."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tvts_bench import registry
from tvts_bench.cli import option_groups, options
from tvts_bench.cli import table_options as own
from tvts_bench.cli.console import stderr, stdout
from tvts_bench.errors import UserError
from tvts_bench.tables.base import Table

if TYPE_CHECKING:
    from tvts_bench.cli.table_request import TableRequest
    from tvts_bench.tables.assemble import TableResults

INCOMPLETE = 1  # exit code where a row that was asked for could not be measured


def table_command(name: str, doc: str) -> Callable[..., None]:
    """The command of one table; `doc` is its help."""

    def command(
        data: own.Data = None,
        annotations: own.AnnotationLists = None,
        ckpt: own.Checkpoints = None,
        weights: options.WeightsKey = None,
        ablations: own.Ablations = None,
        baseline: own.Baseline = None,
        probe: own.Probe = None,
        accumulate: own.Accumulate = None,
        strict: options.Strict = False,
        decoder: options.Decoder = "decord",
        machine: option_groups.Machine = option_groups.MACHINE,
        out: own.Out = Path("results"),
        fresh: own.Fresh = False,
        debug: options.Debug = False,
    ) -> None:
        from tvts_bench.cli.table_request import TableRequest
        from tvts_bench.results import require_writable

        asked = TableRequest.parse(name, data or [], annotations or [], ckpt or [])
        asked = asked.varied(
            baseline=baseline, probe=probe, accumulate=accumulate, ablations=ablations, weights=weights
        )
        require_writable(out)
        if asked.from_grid:
            _report(asked, _grid_findings(asked, out), out)
            return
        from tvts_bench.cli import setup
        from tvts_bench.cli.table_measuring import measure
        from tvts_bench.training.signals import StoppedError

        local = setup.make_runtime(machine, strict)
        try:
            findings = measure(asked, local, out, decoder=decoder, dtype=machine.dtype, fresh=fresh)
        except StoppedError as stop:  # a training, whose state is saved
            stderr.print("stopped; what was computed is kept, the same command takes it up again")
            raise typer.Exit(128 + stop.signal) from None
        if findings is not None:  # on the first of several processes
            _report(asked, findings, out)

    command.__name__ = name
    command.__doc__ = doc
    return command


def _grid_findings(asked: "TableRequest", out: Path) -> "TableResults":
    """What the cells of the table's grid hold; where there are none, what would fill them."""
    from tvts_bench.tables.assemble import TableResults
    from tvts_bench.tables.grids import folder_of_grid, read_grid_cells

    folder = asked.ablations or folder_of_grid(asked.table, out)
    cells = None if folder is None else read_grid_cells(asked.table, folder)
    if cells is None:
        if asked.ablations is not None:
            raise UserError(
                f"--ablations {asked.ablations} holds no grid {asked.table.grid}: give the --out of the grid"
            )
        hint = f"measured cells are filled by `tvts-bench ablate {asked.table.grid}`, then this table again"
        return TableResults(cells={}, embedded=False, baseline=asked.baseline, remarks=(hint,))
    stderr.print(f"cells from {folder}", soft_wrap=True)
    for sentence in cells.ignored:
        stderr.print(sentence, soft_wrap=True)
    return TableResults(cells=cells.results, embedded=cells.embedded, baseline=asked.baseline, remarks=cells.remarks)


def _report(asked: "TableRequest", findings: "TableResults", out: Path) -> None:
    """Write and show the table; the exit code says whether a row that was asked for is missing."""
    from tvts_bench.tables.assemble import assemble
    from tvts_bench.tables.files import write_table
    from tvts_bench.tables.layout import lay_out
    from tvts_bench.tables.terminal import terminal_tables

    filled = assemble(asked.table, findings, out)
    files = write_table(filled, out)
    stdout.print(filled.title, style="italic")
    for part in terminal_tables(filled, stdout.width):
        stdout.print(part)
    for note in lay_out(filled).notes:
        stdout.print(note, style="dim", soft_wrap=True)
    stderr.print(f"written: {files.markdown} (and .csv, .tex, .json)", soft_wrap=True)
    if not asked.from_grid and any(each.reason for each in findings.cells.values()):
        raise typer.Exit(INCOMPLETE)


_BACKBONES = """Without options the embedded world fills a table of the same shape, in minutes; the paper's numbers stay
in columns of their own. Real data and weights fill the paper's rows. What --out holds already is not measured again, so
a run that was stopped goes on. Exit code 1: a row could not be measured; the table says why."""

_GRID = """Its cells are trained and measured by `tvts-bench ablate {grid}`; this command shows what is there, beside
the paper's numbers. Checkpoints of your own (--ckpt) fill rows without a grid."""


def _help(table: Table) -> str:
    """What a table's command does, and examples."""
    number = table.name.removeprefix("table")
    what = _BACKBONES if table.grid is None else _GRID.format(grid=table.grid)
    return "\n\n".join((f"Table {number} of the paper: {table.title}.", what, *table.examples))


def commands() -> Iterator[tuple[str, Callable[..., None]]]:
    """A command a table that is listed."""
    for name in registry.names("tables"):
        yield name, table_command(name, _help(registry.load("tables", name).TABLE))
