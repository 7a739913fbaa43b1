"""Measures what a table's command asks for. Imported inside the command: it brings torch."""

from pathlib import Path

from tvts_bench.cli import setup
from tvts_bench.cli.console import stderr
from tvts_bench.cli.table_request import TableRequest
from tvts_bench.datasets.base import Dataset
from tvts_bench.distributed import distributed_runtime
from tvts_bench.runtime import Runtime
from tvts_bench.table_runs import MeasurementRequest, fill_table
from tvts_bench.tables.assemble import TableResults
from tvts_bench.tables.base import EMBEDDED


def measure(
    request: TableRequest, local: Runtime, out: Path, *, decoder: str, dtype: str, fresh: bool
) -> TableResults | None:
    """What fills the table; None on all but the first of several processes."""
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
        cells = fill_table(wanted, out, runtime, _say if runtime.rank == 0 else _hush)
    if runtime.rank:
        return None
    return TableResults(cells=cells, protocols=request.protocols, embedded=not request.data, baseline=request.baseline)


def _datasets(request: TableRequest, cache: Path) -> dict[str, Dataset]:
    """The table's data sets that are there: those under --data, or without any the embedded world's."""
    if not request.data:
        return {name: setup.make_dataset(f"{EMBEDDED}:{name}", None, None, 1, cache) for name in request.table.datasets}
    return {
        name: setup.make_dataset(name, root, request.annotations.get(name), 1, cache)
        for name, root in request.data.items()
    }


def _say(line: str) -> None:
    stderr.print(line, soft_wrap=True)


def _hush(line: str) -> None:
    """Only the first process speaks."""
