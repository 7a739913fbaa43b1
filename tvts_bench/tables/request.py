"""What is to be filled of a table, from the options of its command. Needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tvts_bench import registry
from tvts_bench.errors import UserError, did_you_mean, name_values
from tvts_bench.tables.base import Column, Protocol, Table, TableRow

OTHERS = "not in the paper"  # group of the rows that --ckpt adds
PROBES = {"cached": "cached_probe", "paper": "online_probe"}


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """A table, and what fills it."""

    table: Table
    data: Mapping[str, Path]  # data set -> folder; empty: the built-in synthetic set
    annotations: Mapping[str, Path]
    checkpoints: Mapping[str, Path]  # row -> weights
    protocols: Mapping[str, Protocol] = field(default_factory=dict)  # column -> protocol, where it is not the first
    accumulate: int | None = None
    baseline: str | None = None
    ablations: Path | None = None  # the folder of the grid; None: the usual one
    weights: str | None = None  # which of each checkpoint's: "ema", or their key; None: the usual ones

    @classmethod
    def parse(
        cls, name: str, data: Sequence[str], annotations: Sequence[str], checkpoints: Sequence[str]
    ) -> "TableRequest":
        """From `NAME=VALUE` texts.

        Args:
            name: Of the table.
            data: Folders of data sets.
            annotations: Lists of data sets whose folder holds none.
            checkpoints: Weights of rows.

        Raises:
            UserError: no `=`, an unknown name (the nearest is shown), a name twice, or nothing to measure.
        """
        table: Table = registry.load("tables", name).TABLE
        table = replace(table, rows=(*table.rows, *_other_rows(table, checkpoints)))
        sets, rows = table.datasets, [row.name for row in table.rows]
        request = cls(
            table=table,
            data=_paths("--data", data, sets, f"data set of {name}"),
            annotations=_paths("--annotations", annotations, sets, f"data set of {name}"),
            checkpoints=_paths("--ckpt", checkpoints, rows, f"row of {name}"),
        )
        for dataset in request.annotations:
            if dataset not in request.data:
                raise UserError(f"--annotations {dataset}=... needs --data {dataset}=DIR, the folder of its videos")
        if request.data and not request.checkpoints:
            raise UserError(
                f"--data {data[0]} has nothing to be measured with: add --ckpt ROW=FILE; rows: {', '.join(rows)}"
            )
        return request

    def varied(
        self,
        *,
        baseline: str | None,
        probe: str | None,
        accumulate: int | None,
        ablations: Path | None,
        weights: str | None = None,
    ) -> "TableRequest":
        """With the other options of its command.

        Args:
            baseline: Row that the others are tested against; None: as the table says.
            probe: Which linear probe, "cached" or "paper"; None: the first of its columns.
            accumulate: Micro-batches of a training step.
            ablations: Folder of the table's grid; None: the usual one.
            weights: Which of each checkpoint's: "ema", or their key.

        Raises:
            UserError: an unknown name, or an option that has no meaning for this table.
        """
        if accumulate is not None and not any(_evaluators(column) & {"finetune"} for column in self.table.columns):
            raise UserError(f"{self.table.name} fine-tunes nothing: leave out --accumulate")
        if weights is not None and not self.checkpoints:
            raise UserError(f"--weights {weights} chooses among those in checkpoints: add --ckpt ROW=FILE")
        if ablations is not None and not self.from_grid:
            filled = "--ckpt" if self.table.grid else "backbones"
            raise UserError(f"{self.table.name} is filled by {filled} here, not by a grid: leave out --ablations")
        rows = [row.name for row in (*self.table.rows, *self.table.embedded_rows)]
        return replace(
            self,
            baseline=None if baseline is None else _known(baseline, rows, f"row of {self.table.name}", "--baseline"),
            protocols={} if probe is None else self._probes(probe),
            accumulate=accumulate,
            ablations=ablations,
            weights=weights,
        )

    def _probes(self, probe: str) -> dict[str, Protocol]:
        """The protocol of each linear-probe column."""
        if probe not in PROBES:
            raise UserError(f"--probe must be one of {', '.join(PROBES)}, got {probe!r}")
        protocols = {
            column.name: protocol
            for column in self.table.columns
            for protocol in column.protocols
            if protocol.evaluator == PROBES[probe]
        }
        if not protocols:
            raise UserError(f"{self.table.name} has no linear probe: leave out --probe {probe}")
        return protocols

    @property
    def from_grid(self) -> bool:
        """Whether cells of a grid fill the table, and not backbones that are named here."""
        return self.table.grid is not None and not self.checkpoints

    @property
    def rows(self) -> tuple[TableRow, ...]:
        """The rows to be measured."""
        named = tuple(row for row in self.table.rows if row.name in self.checkpoints)
        return named if self.data else (*named, *self.table.embedded_rows)


def _other_rows(table: Table, checkpoints: Sequence[str]) -> tuple[TableRow, ...]:
    """A row for each backbone (family or family:variant) that --ckpt names and the table has no row of."""
    there = {row.name.casefold() for row in table.rows}
    named = dict.fromkeys(text.partition("=")[0].strip() for text in checkpoints)
    known = registry.names("backbones")
    return tuple(
        TableRow(name=name, group=OTHERS, backbone=name)
        for name in named
        if name.casefold() not in there and name.partition(":")[0].replace("-", "_") in known
    )


def _evaluators(column: Column) -> set[str]:
    return {protocol.evaluator for protocol in column.protocols}


def _paths(option: str, texts: Sequence[str], known: Sequence[str], kind: str) -> dict[str, Path]:
    """`NAME=PATH` texts by the name that the table writes."""
    paths: dict[str, Path] = {}
    for given, path in name_values(option, texts, "NAME=PATH", f"; names: {', '.join(known)}").items():
        name = _known(given, known, kind, option)
        if name in paths:
            raise UserError(f"{option} {name}= is given twice: {paths[name]} and {path}")
        paths[name] = Path(path)
    return paths


def _known(name: str, names: Sequence[str], kind: str, option: str) -> str:
    """The name as the table writes it."""
    same = {known.casefold(): known for known in names}
    if name.casefold() in same:
        return same[name.casefold()]
    raise UserError(f"{option}: unknown {kind} {name!r}{did_you_mean(name, names)}; there are: {', '.join(names)}")
