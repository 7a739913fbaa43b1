"""`tvts-bench table1` to `table7`: the paper's tables, filled with what was measured."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from tvts_bench import registry
from tvts_bench.cli.console import say, stderr, stdout
from tvts_bench.cli.options import DATA, OUTPUT, PROTOCOL, WEIGHTS, Reader, WeightsKey
from tvts_bench.config_fields import Option
from tvts_bench.errors import UserError
from tvts_bench.tables.base import EMBEDDED, Table

if TYPE_CHECKING:
    from tvts_bench.datasets.base import Dataset
    from tvts_bench.runtime import Runtime
    from tvts_bench.tables.assemble import TableResults
    from tvts_bench.tables.request import TableRequest

INCOMPLETE = 1  # exit code where a row of the request could not be measured


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """What a table is filled with."""

    panel: ClassVar[str] = DATA

    ckpt: Annotated[
        list[str] | None,
        Option(
            "Weights for a row of the table: TVTS=TVTS_yt_pt.pth. Repeat it. All tensors must fit. A backbone that the"
            " paper's table does not have gets a row of its own: dinov2=FILE.",
            form="ROW=FILE",
        ),
        WEIGHTS,
    ] = None
    weights: WeightsKey = None
    data: Annotated[
        list[str] | None,
        Option(
            "Folder of a real data set: ssv2=DIR. Repeat it. Without any, the built-in synthetic set stands in.",
            form="SET=DIR",
        ),
    ] = None
    annotations: Annotated[
        list[str] | None,
        Option(
            "List file, or folder of lists, in place of the one under --data: ssv2=LISTS. Repeat it.", form="SET=PATH"
        ),
    ] = None
    ablations: Annotated[
        Path | None,
        Option(
            "Of tables 1 to 3: the --out of `tvts-bench ablate`. By default runs/ablations, or where that holds no such"
            " grid, a folder in --out that does.",
            form="DIR",
        ),
    ] = None
    baseline: Annotated[str | None, Option("Row that the others are tested against.", form="ROW"), PROTOCOL] = None
    probe: Annotated[
        str | None,
        Option("Of a linear-probe column: cached (the default: features extracted once) or paper (online, augmented)."),
        PROTOCOL,
    ] = None
    accumulate: Annotated[
        int | None,
        Option("Of a fine-tuning column: micro-batches of a step, for the recipe's batch in less memory.", least=1),
        PROTOCOL,
    ] = None

    def request(self, table: str) -> "TableRequest":
        """What is asked of a table.

        Raises:
            UserError: What the table does not have, or options that do not go together.
        """
        from tvts_bench.tables.request import TableRequest

        parsed = TableRequest.parse(table, self.data or [], self.annotations or [], self.ckpt or [])
        names = ("baseline", "probe", "accumulate", "ablations", "weights")
        return parsed.varied(**{name: getattr(self, name) for name in names})


def table_command(name: str, doc: str) -> Callable[..., None]:
    """The command of one table; `doc` is its help."""

    def command(
        filling: TableOptions,
        machine: Reader,
        out: Annotated[
            Path,
            Option("Folder of results: the table goes to OUT/tables, the runs that it is made of to OUT/runs."),
            OUTPUT,
        ] = Path("results"),
        fresh: Annotated[
            bool,
            Option(
                "Measure again what --out holds already; what was fine-tuned is set aside, and every call with --fresh"
                " begins its trainings anew."
            ),
            OUTPUT,
        ] = False,
    ) -> None:
        from tvts_bench.results import require_writable

        request = filling.request(name)
        require_writable(out)
        if request.from_grid:
            _report(request, _grid_results(request, out), out)
            return
        from tvts_bench.cli import setup
        from tvts_bench.signals import StoppedError

        local = setup.make_runtime(machine, machine.strict)
        try:
            results = _measure(request, local, out, decoder=machine.decoder, dtype=machine.dtype, fresh=fresh)
        except StoppedError as stop:  # a training, whose state is saved
            stderr.print("stopped; what was computed is kept, the same command resumes it")
            raise typer.Exit(128 + stop.signal) from None
        if results is not None:  # on the first of several processes
            _report(request, results, out)

    command.__name__ = name
    command.__doc__ = doc
    return command


def _measure(
    request: "TableRequest", local: "Runtime", out: Path, *, decoder: str, dtype: str, fresh: bool
) -> "TableResults | None":
    """What fills the table; None on all but the first of several processes."""
    from tvts_bench.distributed import distributed_runtime
    from tvts_bench.table_runs import MeasurementRequest, fill_table
    from tvts_bench.tables.assemble import TableResults

    wanted = MeasurementRequest(
        table=request.table,
        rows=request.rows,
        checkpoints=request.checkpoints,
        weights=request.weights,
        datasets=_datasets(request, local.cache),
        protocols=request.protocols,
        decoder=decoder,
        dtype=dtype,
        accumulate=request.accumulate,
        fresh=fresh,
    )
    with distributed_runtime(local) as runtime:
        cells = fill_table(wanted, out, runtime, say if runtime.rank == 0 else lambda line: None)
    if runtime.rank:
        return None
    return TableResults(cells=cells, protocols=request.protocols, embedded=not request.data, baseline=request.baseline)


def _datasets(request: "TableRequest", cache: Path) -> "dict[str, Dataset]":
    """The table's data sets that are there: those under --data, or without any the built-in ones."""
    from tvts_bench.cli import setup

    if not request.data:
        return {name: setup.make_dataset(f"{EMBEDDED}:{name}", None, None, 1, cache) for name in request.table.datasets}
    return {
        name: setup.make_dataset(name, root, request.annotations.get(name), 1, cache)
        for name, root in request.data.items()
    }


def _grid_results(request: "TableRequest", out: Path) -> "TableResults":
    """What the cells of the table's grid hold; where there are none, what would fill them."""
    from tvts_bench.tables.assemble import TableResults
    from tvts_bench.tables.grids import folder_of_grid, read_grid_cells

    folder = request.ablations or folder_of_grid(request.table, out)
    cells = None if folder is None else read_grid_cells(request.table, folder)
    if cells is None:
        if request.ablations is not None:
            raise UserError(
                f"--ablations {request.ablations} holds no grid {request.table.grid}: give the --out of the grid"
            )
        hint = f"measured cells are filled by `tvts-bench ablate {request.table.grid}`, then this table again"
        return TableResults(cells={}, embedded=False, baseline=request.baseline, remarks=(hint,))
    say(f"cells from {folder}")
    for sentence in cells.ignored:
        say(sentence)
    return TableResults(cells=cells.results, embedded=cells.embedded, baseline=request.baseline, remarks=cells.remarks)


def _report(request: "TableRequest", results: "TableResults", out: Path) -> None:
    """Write and show the table; the exit code says whether a row of the request is missing."""
    from tvts_bench.tables.assemble import assemble
    from tvts_bench.tables.layout import lay_out
    from tvts_bench.tables.model import as_document
    from tvts_bench.tables.render import terminal_tables, write_table

    document = as_document(assemble(request.table, results, out))
    written, layout = write_table(document, out), lay_out(document)
    stdout.print(layout.title, style="italic")
    for part in terminal_tables(document, stdout.width):
        stdout.print(part)
    for note in (*layout.reasons, *layout.notes):
        stdout.print(note, style="dim", soft_wrap=True)
    say(f"written: {written} (and .csv, .tex, .json)")
    if not request.from_grid and any(each.reason for each in results.cells.values()):
        raise typer.Exit(INCOMPLETE)


_BACKBONES = """Without options the built-in synthetic set fills a table of the same shape, in minutes; the paper's
numbers stay in columns of their own. Real data and weights fill the paper's rows. What --out holds already is not
measured again, so a run that was stopped resumes. Exit code 1: a row could not be measured; the table says why."""

_GRID = """Its cells are trained and measured by `tvts-bench ablate {grid}`; this command shows what is there, beside
the paper's numbers. Checkpoints of your own (--ckpt) fill rows without a grid."""


def _help(table: Table) -> str:
    """What a table's command does, and examples."""
    number = table.name.removeprefix("table")
    what = _BACKBONES if table.grid is None else _GRID.format(grid=table.grid)
    return "\n\n".join((f"Table {number} of the paper: {table.title}.", what, *table.examples))


def commands() -> Iterator[tuple[str, Callable[..., None]]]:
    """One command per table that is listed."""
    for name in registry.names("tables"):
        yield name, table_command(name, _help(registry.load("tables", name).TABLE))
