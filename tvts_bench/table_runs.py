"""Measures what the cells of a table need and the folder of results does not hold yet."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from tvts_bench import registry
from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.detect import families
from tvts_bench.backbones.loading import load_as, load_backbone
from tvts_bench.datasets.base import Dataset
from tvts_bench.devices import resolve_dtype
from tvts_bench.distributed import broadcast_from_rank0
from tvts_bench.errors import UserError
from tvts_bench.evaluation import evaluate, extract_once, plan
from tvts_bench.evaluators.base import Evaluator
from tvts_bench.evaluators.supervised import Supervised
from tvts_bench.results import Run, load
from tvts_bench.results.files import write_files
from tvts_bench.results.index import RUNS, ResultIndex, ReuseCheck, StoredResult, read_index
from tvts_bench.runtime import Runtime
from tvts_bench.tables.base import Column, Protocol, Table, TableRow
from tvts_bench.tables.model import CellResults
from tvts_bench.training.presets import preset

Say = Callable[[str], None]
"""Takes one line on how it goes."""


@dataclass(frozen=True, kw_only=True)
class MeasurementRequest:
    """What is to be measured, and what of it the user decides."""

    table: Table
    rows: tuple[TableRow, ...]  # those with a backbone or a checkpoint
    checkpoints: Mapping[str, Path] = field(default_factory=dict)  # row -> file of weights
    weights: str | None = None  # which of each file's: "ema", or their key; None: the usual ones
    datasets: Mapping[str, Dataset]  # the table's name of a data set -> what stands for it
    protocols: Mapping[str, Protocol] = field(default_factory=dict)  # column -> protocol, where it is not the first
    decoder: str = "decord"
    dtype: str = "auto"
    accumulate: int | None = None  # micro-batches of a training step; None: as the recipe says
    fresh: bool = False  # measure again what is there, and train again what was trained

    def protocol(self, column: Column) -> Protocol:
        """What fills a column."""
        return self.protocols.get(column.name, column.protocols[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """One evaluation, which may fill several cells."""

    row: str
    columns: tuple[str, ...]
    protocol: Protocol
    backbone: Backbone
    dataset: Dataset
    evaluator: Evaluator


def fill_table(
    request: MeasurementRequest, out: Path, runtime: Runtime, say: Say
) -> dict[tuple[str, str], CellResults]:
    """What there is for each cell of the rows and data sets of the request, measured where it was missing.

    Each result is written into OUT/runs as soon as it is there, so a call that is interrupted resumes at the next one.
    What goes wrong in one row is its reason, and the others are measured all the same. Under torchrun all ranks must
    call this.

    Args:
        request: rows, data sets and protocols.
        out: folder of all results.
        runtime: where it runs.
        say: takes each line on how it goes.

    Returns:
        By row and column.

    Raises:
        ResultError: `out` cannot be written to.
    """
    runtime = replace(runtime, out=out / RUNS, resume=not request.fresh, retrain=request.fresh)
    cells: dict[tuple[str, str], CellResults] = {}
    jobs = _jobs(request, cells, runtime.device)
    stored = broadcast_from_rank0(runtime, lambda: read_index(out))
    for sentence in stored.refused:
        say(sentence)
    lookup = _Lookup(request=request, stored=stored, runtime=runtime, say=say)
    missing = [job for job in jobs if not lookup.fills(job, cells)]
    done = 0
    for _, group in groupby(missing, key=lambda job: (id(job.dataset), job.protocol.name)):
        together = list(group)
        with suppress(UserError):  # each row says by itself what is wrong with it
            extract_once([job.backbone for job in together], together[0].dataset, together[0].evaluator, runtime)
        for job in together:
            done += 1
            say(f"measuring {done} of {len(missing)}: {job.row}, {job.protocol.name} on {job.dataset.name}")
            _keep(cells, job, _measure(job, out, runtime))
    return cells


def _jobs(request: MeasurementRequest, cells: dict[tuple[str, str], CellResults], device: str) -> list[_Job]:
    """One per row, data set and protocol; reasons go to `cells`."""
    backbones: dict[str, Backbone] = {}
    for row in request.rows:
        try:
            backbones[row.name] = _backbone(request, row)
        except UserError as error:
            for column in _columns(request):
                cells[row.name, column.name] = CellResults(status="not run", reason=f"{row.name}: {error}")
    jobs = []
    for columns in _by_evaluation(request):
        data, protocol = request.datasets[columns[0].dataset], request.protocol(columns[0])
        names = tuple(column.name for column in columns)
        evaluator = build_evaluator(protocol, data, request, device)
        jobs += [
            _Job(row=row, columns=names, protocol=protocol, backbone=backbone, dataset=data, evaluator=evaluator)
            for row, backbone in backbones.items()
        ]
    return jobs


def _backbone(request: MeasurementRequest, row: TableRow) -> Backbone:
    """The row's own backbone; of the paper's rows the system that they quote, where its weights can be loaded."""
    checkpoint = request.checkpoints.get(row.name)
    weights = None if checkpoint is None else request.weights
    if row.backbone is None and checkpoint is not None:
        quoted = (request.table.name, row.name)
        systems = [name for name, plugin in families().usable.items() if quoted in plugin.card.published]
        if len(systems) == 1:
            return load_as(systems[0], checkpoint, weights)
    return load_backbone(row.backbone, checkpoint, weights=weights)


def _columns(request: MeasurementRequest) -> list[Column]:
    return [column for column in request.table.columns if column.dataset in request.datasets]


def _by_evaluation(request: MeasurementRequest) -> list[list[Column]]:
    """The columns that one result fills together: those of a data set and protocol."""
    columns: dict[tuple[str, str], list[Column]] = {}
    for column in _columns(request):
        columns.setdefault((column.dataset, request.protocol(column).name), []).append(column)
    return list(columns.values())


def build_evaluator(protocol: Protocol, dataset: Dataset, request: MeasurementRequest, device: str) -> Evaluator:
    """The protocol as an evaluator: its plug-in's default with its own changes and what the user decides."""
    default = registry.load("evaluators", protocol.evaluator).DEFAULT
    changes: dict[str, Any] = {**protocol.settings, "decoder": request.decoder}
    if isinstance(default, Supervised):
        recipe = preset(default.task, dataset.name)
        if request.dtype != "auto" or recipe.precision == "bf16":  # not where it would be emulated
            recipe = replace(recipe, precision=resolve_dtype(request.dtype, device))
        changes["recipe"] = replace(recipe, accumulate=request.accumulate or recipe.accumulate)
    else:
        changes["dtype"] = resolve_dtype(request.dtype, device)
    return cast(Evaluator, replace(default, **changes))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lookup:
    """Looks for results that are there and still hold."""

    request: MeasurementRequest
    stored: ResultIndex
    runtime: Runtime
    say: Say
    check: ReuseCheck = field(default_factory=ReuseCheck)

    def fills(self, job: _Job, cells: dict[tuple[str, str], CellResults]) -> bool:
        """Whether nothing is left to measure of `job`: its result is there, or it cannot be planned."""
        try:
            run = plan(job.backbone, job.dataset, job.evaluator)
        except UserError as error:
            _keep(cells, job, CellResults(status="not run", reason=str(error)))
            return True
        stored = None if self.request.fresh else broadcast_from_rank0(self.runtime, lambda: self._holding(job, run))
        if stored is None or (
            self.runtime.strict and any(item.failed or item.damaged for item in stored.result.coverage)
        ):
            self._say_ignored(job, run)
            return False
        _keep(cells, job, CellResults(stored=((None, stored),)))
        return True

    def _holding(self, job: _Job, run: Run) -> StoredResult | None:
        """The result of `run`, if it says what a measurement would say now; else None, and `say` gets why not."""
        stored = self.stored.by_key.get(run.key)
        if stored is None:
            return None
        reason = self.check.difference(stored.result, job.dataset)
        if reason is not None:
            self.say(f"measured again for {job.row}: {stored.path.name} {reason}")
            return None
        return stored

    def _say_ignored(self, job: _Job, run: Run) -> None:
        """Results of the same subject that are not comparable."""
        others = self.stored.others(run)
        if others:
            names = ", ".join(path.name for path in others[:2]) + (" and others" if len(others) > 2 else "")
            self.say(
                f"ignored for {job.row}: {len(others)} results of {job.protocol.name} on {job.dataset.name} with"
                f" another configuration or other clips ({names})"
            )


def _measure(job: _Job, out: Path, runtime: Runtime) -> CellResults:
    """Evaluate and write; or why that failed."""
    try:
        result = evaluate(job.backbone, job.dataset, job.evaluator, runtime)
    except UserError as error:
        return CellResults(status="failed", reason=f"{job.row}: {error}")
    path = broadcast_from_rank0(runtime, lambda: write_files(result, out / RUNS).json)
    return CellResults(stored=((None, StoredResult(result=load(path), path=path)),))


def _keep(cells: dict[tuple[str, str], CellResults], job: _Job, what: CellResults) -> None:
    for column in job.columns:
        cells[job.row, column] = what
