"""A grid and its request become cells, each with a key: the digest of all that can change its checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from tvts_bench.ablations.commands import BACKBONE, EvaluationSpec, Stage, evaluation, pretraining, resolve, start_file
from tvts_bench.ablations.grids import PROTOCOLS, Budget, Grid, GridRow, Settings, unknown
from tvts_bench.ablations.jobs import CellJob
from tvts_bench.datasets.scripted_motion.world import DEFAULT as WORLD
from tvts_bench.errors import UserError
from tvts_bench.provenance import digest, file_sha256
from tvts_bench.results.grids import GridRecord, RowRecord, cell_folder
from tvts_bench.version import VERSION

RESOURCES = ("device", "workers", "threads", "log_every", "cache", "samples", "changed_files")
"""Keys of tvts-pretrain that change no weight."""
NOT_MADE = "not made"  # in place of the sha256 of a common start
STARTS = ("mae", "checkpoint")  # keys of init that name files of weights
OURS = {"out": "--out says where everything goes", "seed": "--seeds says how many"}
UNTRAINED = {
    (768, 12, 16): "tvts:base",
    (384, 12, 16): "tvts:small",
    (128, 4, 8): "tvts:tiny",
    (128, 4, 16): "tvts:mini",
    (96, 3, 16): "tvts:micro",
}
"""Random weights of the encoder that a preset trains, by width, depth and pixels of a patch."""


@dataclass(frozen=True, kw_only=True)
class GridRequest:
    """A grid, and how it is to be filled."""

    grid: Grid
    budget: Budget
    out: Path
    pretrain: str | None = None  # preset of tvts-pretrain, or a YAML file; None: the budget's
    changes: Settings = field(default_factory=dict)  # --set
    seeds: int = 1
    protocols: tuple[str, ...] = ()  # those of the budget where empty
    data: Mapping[str, str] = field(
        default_factory=dict
    )  # data set -> folder; without one the built-in synthetic set's

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        for protocol in self.protocols:
            if protocol not in PROTOCOLS:
                raise unknown("protocol", protocol, PROTOCOLS)
        for dataset in self.data:
            if dataset not in self.grid.datasets:
                raise unknown(f"data set of {self.grid.name}", dataset, self.grid.datasets)
        varied = {key for row in self.grid.rows for key in row.settings}
        for key in self.changes:
            if key in OURS:
                raise UserError(f"--set {key}={self.changes[key]}: {OURS[key]}")
            if key in varied:
                raise UserError(f"--set {key}={self.changes[key]}: that is what {self.grid.name} varies; see --only")
        if self.seeds < 1:
            raise UserError(f"--seeds must be at least 1, got {self.seeds}")

    @property
    def preset(self) -> str:
        """Of tvts-pretrain, that is varied."""
        return self.pretrain or self.budget.preset

    @property
    def evaluations(self) -> tuple[EvaluationSpec, ...]:
        """Every evaluation of a cell, data set by data set."""
        return tuple(
            EvaluationSpec(
                protocol=protocol, dataset=name, root=self.data.get(name), options=self._options(protocol, name)
            )
            for name in self.grid.datasets
            for protocol in self.protocols or self.budget.protocols
        )

    def _options(self, protocol: str, dataset: str) -> tuple[str, ...]:
        # Cells of the built-in synthetic set may come from machines with bf16 and without, and belong to one table.
        precision = () if dataset in self.data else ("--dtype", "fp32")
        return (*precision, *self.budget.options.get(protocol, ()))

    def settings(self, row: GridRow, seed: int) -> dict[str, str]:
        """All settings of a row that differ from the preset, without those of where it runs."""
        return {**self.common, **row.settings, **self._start(seed), "seed": str(seed)}

    def _start(self, seed: int) -> dict[str, str]:
        """The common start of a seed, unless a preset or a setting says where runs begin."""
        if not self.budget.starts or self.pretrain or any(f"init.{key}" in self.changes for key in (*STARTS, "start")):
            return {}
        return {"init.start": str(seed % self.budget.starts)}

    @property
    def common(self) -> dict[str, str]:
        """Settings of all rows that differ from the preset, without those of where it runs."""
        settings = {**self.budget.settings, **self.changes}
        return {key: value for key, value in settings.items() if key not in RESOURCES}

    @property
    def resources(self) -> dict[str, str]:
        """Where pretraining runs, as --set says."""
        return {key: value for key, value in self.changes.items() if key in RESOURCES}


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Where a cell runs; none of it is in a key."""

    threads: int = 1  # of each process of a cell
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """One cell of a grid."""

    row: str  # of the grid; where several are one cell, the first
    seed: int
    key: str
    config: Mapping[str, Any]
    request: GridRequest
    settings: Settings  # of tvts-pretrain; empty where nothing is trained
    backbone: str | None  # random weights, where nothing is trained

    @property
    def name(self) -> str:
        """As --only takes it."""
        return f"{self.row}:{self.seed}"

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return cell_folder(self.request.out, self.key).absolute()

    def job(self, resources: Resources, timeout: float | None = None, failed_before: float | None = None) -> CellJob:
        """It as a job.

        Args:
            resources: where it runs.
            timeout: seconds for all its stages.
            failed_before: stages that failed and were started before (seconds since 1970) run again.

        Returns:
            With its commands.
        """
        return CellJob(
            out=self.request.out,
            key=self.key,
            config=self.config,
            seed=self.seed,
            stages=self._stages(resources),
            timeout=timeout,
            failed_before=failed_before,
        )

    def _stages(self, resources: Resources) -> tuple[Stage, ...]:
        threads = resources.threads
        loading = threads // 4  # processes; the rest computes
        options = ("--device", resources.device, "--workers", str(max(loading, 1)))
        evaluations = [
            evaluation(self.folder, spec, self._weights(), self.seed, options) for spec in self.request.evaluations
        ]
        if self.backbone is not None:
            return tuple(evaluations)
        where = {"device": resources.device, "workers": str(loading), "threads": str(threads - loading)}
        assignments = [f"{key}={value}" for key, value in self.settings.items()]
        where_options = [f"{key}={value}" for key, value in {**where, **self.request.resources}.items()]
        return (pretraining(self.folder, self.request.preset, assignments, where_options), *evaluations)

    def _weights(self) -> tuple[str, ...]:
        if self.backbone is not None:
            return ("--backbone", self.backbone, "--init-seed", str(self.seed))
        return ("--ckpt", str(self.folder / BACKBONE))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The cells of a grid: each once, in the grid's order, all rows of a seed before the next."""

    request: GridRequest
    cells: tuple[PlannedCell, ...]
    record: GridRecord
    is_provisional: bool = False  # a common start was not made, and keys depend on what it holds

    def only(self, names: Sequence[str]) -> tuple[PlannedCell, ...]:
        """The cells of these names, ROW or ROW:SEED; all where there are none.

        Raises:
            UserError: no such cell.
        """
        keys = {f"{row.name}:{seed}": key for row in self.record.rows for seed, key in row.cells.items()}
        wanted: set[str] = set()
        for name in names:
            matching = {key for cell, key in keys.items() if name in (cell, cell.rpartition(":")[0])}
            if not matching:
                raise unknown("cell", name, [*(row.name for row in self.record.rows), *keys])
            wanted |= matching
        return tuple(cell for cell in self.cells if not names or cell.key in wanted)


def plan(request: GridRequest, *, make_starts: bool = True) -> Plan:
    """The cells of a grid, each resolved and checked by tvts-pretrain.

    Args:
        request: what is wanted.
        make_starts: whether common starts that are not there are made; else keys are provisional.

    Raises:
        PretrainingError: it refuses a setting.
        UserError: a row needs random weights of a size that tvts does not have, or weights that cannot be read.
    """
    pairs = [(row, seed) for seed in range(request.seeds) for row in request.grid.rows]
    assignments = [[f"{key}={value}" for key, value in request.settings(row, seed).items()] for row, seed in pairs]
    resolved = resolve(request.preset, assignments)
    cells: dict[str, PlannedCell] = {}
    keys: dict[str, dict[str, str]] = {row.name: {} for row in request.grid.rows}
    known: dict[str, str] = {}
    cache = request.resources.get("cache")
    for (row, seed), config in zip(pairs, resolved, strict=True):
        cell = _cell(request, row, seed, config, _starts(config, known, cache, make_starts))
        keys[row.name][str(seed)] = cell.key
        cells.setdefault(cell.key, cell)
    # A row like one before it is a value that was written otherwise, as 2.0 beside 2.
    keys = {name: own for name, own in keys.items() if name == next(each for each in keys if keys[each] == own)}
    provisional = NOT_MADE in known.values()
    return Plan(request=request, cells=tuple(cells.values()), record=_record(request, keys), is_provisional=provisional)


def _cell(
    request: GridRequest, row: GridRow, seed: int, config: Mapping[str, Any], starts: Mapping[str, Any]
) -> PlannedCell:
    backbone = None if row.trained else _untrained(request, row, config["video"])
    what = {"pretraining": config, **starts} if backbone is None else {"backbone": backbone, "seed": seed}
    content = {**what, "versions": _versions()}
    return PlannedCell(
        row=row.name,
        seed=seed,
        key=digest(content)[:16],
        config=content,
        request=request,
        settings=request.settings(row, seed) if backbone is None else {},
        backbone=backbone,
    )


def _starts(config: Mapping[str, Any], known: dict[str, str], cache: str | None, make: bool) -> dict[str, Any]:
    """What the weights that training starts from are, by content: at their path others may come to lie.

    `known`: file, or number of a common start -> sha256, of those that were read before; added to. `cache`: where
    common starts lie, and are made where they do not if `make`.
    """
    init = config.get("init", {})
    files = {key: file for key in STARTS if (file := init.get(key))}
    if init.get("start") is not None:
        files["start"] = f"start {init['start']}"
        if files["start"] not in known:
            path = start_file(init["start"], cache, make=make)
            known[files["start"]] = file_sha256(path) if make or path.is_file() else NOT_MADE
    for file in {*files.values()} - known.keys():
        try:
            known[file] = file_sha256(Path(file))
        except OSError as error:
            raise UserError(f"cannot read the weights to start from, {file}: {error.strerror or error}") from error
    return {"sha256": {f"init.{key}": known[file] for key, file in files.items()}} if files else {}


def _untrained(request: GridRequest, row: GridRow, video: Mapping[str, Any]) -> str:
    size = video["embed_dim"], video["depth"], video["patch_size"]
    if size not in UNTRAINED:
        sizes = ", ".join(f"{name} ({dim}, {depth}, {patch})" for (dim, depth, patch), name in UNTRAINED.items())
        raise UserError(
            f"{row.name} needs random weights of the size that {request.preset} trains (width {size[0]}, {size[1]} "
            f"blocks, patches of {size[2]}); there are only: {sizes}"
        )
    return UNTRAINED[size]


def _versions() -> dict[str, str]:
    """What changes a checkpoint beside its configuration. Without importing torch: that takes seconds."""
    return {"tvts-bench": VERSION, "torch": metadata.version("torch"), "embedded world": WORLD.digest[:12]}


def _record(request: GridRequest, keys: Mapping[str, Mapping[str, str]]) -> GridRecord:
    grid, stages = request.grid, tuple(spec.name for spec in request.evaluations)
    return GridRecord(
        grid=grid.name,
        title=grid.title,
        table=grid.table,
        baseline=grid.baseline,
        scale=request.budget.name,
        preset=request.preset,
        changes=request.common,
        protocols=request.protocols or request.budget.protocols,
        datasets={name: request.data.get(name) for name in grid.datasets},
        rows=tuple(
            RowRecord(
                name=row.name, title=row.title, settings=dict(row.settings), cells=dict(keys[row.name]), stages=stages
            )
            for row in grid.rows
            if row.name in keys
        ),
    )
