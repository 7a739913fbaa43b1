"""The grids and their budgets, as data.

A grid says what is varied, on which data sets it is evaluated, and which row the others are compared with. Three are
the paper's Tables 1 to 3; the others vary what the paper fixes. A row is settings of `tvts-pretrain`. Rows of two grids
that resolve to the same configuration (`base` and `none`) are one cell, which runs once.

A budget says how much a grid trains and measures: `quick` and `standard` for two cores, `full` for the preset as it
ships. `quick` is the first seed of `standard`, of which it trains the same cells. What a budget sets gives way to
--set, and both to what the grid itself varies.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tvts_bench.errors import UserError, did_you_mean

Settings = Mapping[str, str]
"""Keys of `tvts-pretrain`, dotted, and their values as on the command line."""


@dataclass(frozen=True, kw_only=True)
class GridRow:
    """One pretraining configuration."""

    name: str  # on the command line and in files
    title: str  # in tables
    settings: Settings = field(default_factory=dict)
    trained: bool = True  # False: random weights of the same size, never trained


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Rows that differ in one thing."""

    name: str
    title: str
    rows: tuple[GridRow, ...]
    datasets: tuple[str, ...]
    baseline: str  # name of the row that the others are compared with
    table: int | None = None  # of the paper
    key: str | None = None  # the one key that is varied, where it is one: any other value of it can be added

    def with_values(self, values: Iterable[str]) -> "Grid":
        """The grid with a row more for each of these values of `key`; those it has already are not repeated.

        Raises:
            UserError: its rows differ in more than one key.
        """
        added = {value: GridRow(name=value, title=value, settings={self.key or "": value}) for value in values}
        if added and self.key is None:
            names = ", ".join(row.name for row in self.rows)
            raise UserError(f"{self.name} takes no other values: its rows are {names}")
        there = {row.name for row in self.rows}
        return replace(self, rows=self.rows + tuple(row for name, row in added.items() if name not in there))


_NOTHING = {"objective.sort": "none"}
_TVTS = {"objective.sort": "k_way", "objective.target": "transcript", "objective.stop_gradient": "true"}


def _sorting(how: str, target: str) -> Settings:
    return {"objective.sort": how, "objective.target": target}


SORT_TARGET = Grid(
    name="sort-target",
    title="What is put in order",
    table=1,
    datasets=("ucf101", "hmdb51"),
    baseline="none",
    rows=(
        GridRow(name="none", title="none (L_base)", settings=_NOTHING),
        GridRow(name="transcript", title="transcripts (TVTS)", settings=_TVTS),
        GridRow(name="vcop", title="video (VCOP)", settings=_sorting("factorial", "vcop")),
        GridRow(name="merlot", title="video (MERLOT)", settings=_sorting("pairwise", "merlot")),
        GridRow(name="merlot_like", title="video (MERLOT-like)", settings=_sorting("k_way", "merlot_like")),
    ),
)

OBJECTIVE = Grid(
    name="objective",
    title="Training objectives",
    table=2,
    datasets=("ssv2", "k400"),
    baseline="base",
    rows=(
        GridRow(name="scratch", title="from scratch", trained=False),
        GridRow(name="base", title="L_base", settings=_NOTHING),
        GridRow(
            name="sort_no_sg",
            title="L_sort without stop-gradient",
            settings={**_TVTS, "objective.align": "false", "objective.stop_gradient": "false"},
        ),
        GridRow(name="sort", title="L_sort", settings={**_TVTS, "objective.align": "false"}),
        GridRow(
            name="tvts_no_sg",
            title="L_base + L_sort without stop-gradient",
            settings={**_TVTS, "objective.stop_gradient": "false"},
        ),
        GridRow(name="tvts", title="L_base + L_sort (TVTS)", settings=_TVTS),
    ),
)

SORT_MODELING = Grid(
    name="sort-modeling",
    title="How the order is asked for",
    table=3,
    datasets=("ssv2", "k400"),
    baseline="none",
    rows=(
        GridRow(name="none", title="none (L_base)", settings=_NOTHING),
        GridRow(name="pairwise", title="pairwise", settings=_sorting("pairwise", "transcript")),
        GridRow(name="factorial", title="factorial", settings=_sorting("factorial", "transcript")),
        GridRow(name="k_way", title="K-way (TVTS)", settings=_TVTS),
    ),
)

NUM_TRANSCRIPTS = Grid(
    name="num-transcripts",
    title="Transcript segments of a clip (K)",
    datasets=("ssv2", "k400"),
    baseline="4",
    key="objective.segments",
    rows=tuple(GridRow(name=k, title=f"K = {k}", settings={"objective.segments": k}) for k in ("2", "3", "4", "5")),
)

MASK_RATIO = Grid(
    name="mask-ratio",
    title="Share of patches that is dropped",
    datasets=("ssv2", "k400"),
    baseline="0",  # of four patches a tubelet none is redundant
    key="model.mask",
    rows=tuple(
        GridRow(name=share, title=f"{float(share):.0%}", settings={"model.mask": share})
        for share in ("0", "0.25", "0.5", "0.75")
    ),
)

LAMBDA = Grid(
    name="lambda",
    title="Weight of L_sort",
    datasets=("ssv2", "k400"),
    baseline="0",
    key="objective.weight",
    rows=(
        GridRow(name="0", title="0 (L_base)", settings=_NOTHING),
        *(
            GridRow(name=weight, title=weight, settings={"objective.weight": weight})
            for weight in ("0.5", "1", "2", "4", "8")
        ),
    ),
)

SEGMENT_LENGTH = Grid(
    name="segment-length",
    title="Length of a transcript segment in seconds (l)",
    datasets=("ssv2", "k400"),
    baseline="3",  # one action of a story
    key="data.lengths",
    rows=(
        *(GridRow(name=length, title=f"{length} s", settings={"data.lengths": f"[{length}.0]"}) for length in "2345"),
        GridRow(name="3-5", title="3, 4 or 5 s", settings={"data.lengths": "[3.0, 4.0, 5.0]"}),
    ),
)

GRIDS = (SORT_TARGET, OBJECTIVE, SORT_MODELING, NUM_TRANSCRIPTS, MASK_RATIO, LAMBDA, SEGMENT_LENGTH)


PROTOCOLS = ("retrieval", "probe", "finetune")
"""Commands of tvts-bench that a cell can run on its checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long cells train, and how they are measured."""

    name: str
    preset: str  # of tvts-pretrain, unless another one is named
    settings: Settings = field(default_factory=dict)  # of tvts-pretrain, on top of the preset
    protocols: tuple[str, ...] = PROTOCOLS
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of tvts-bench, by protocol
    seeds: int = 1  # runs of every row, where --seeds does not say
    starts: int = 0  # common starts that the seeds take in turn, 0, 1, ..., with the budget's own preset; 0: none


QUICK = Budget(
    name="quick",
    preset="scripted_motion_quick",
    settings={"checkpoint.every_steps": "100"},  # ten seconds of work at most are lost to a kill
    protocols=("retrieval", "probe"),
    options={"probe": ("--head", "linear")},
    starts=3,
)

STANDARD = replace(QUICK, name="standard", seeds=5)

FULL = Budget(name="full", preset="scripted_motion_tiny")

BUDGETS = (QUICK, STANDARD, FULL)


def find_grid(name: str) -> Grid:
    """The grid of that name, in which `-` and `_` mean the same.

    Raises:
        UserError: there is none; the message lists the close ones and all.
    """
    known = {grid.name: grid for grid in GRIDS}
    wanted = name.replace("_", "-")
    if wanted not in known:
        raise unknown("grid", name, known)
    return known[wanted]


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not there.

    Args:
        kind: of thing, for the message.
        name: what was given.
        known: all that there are.

    Returns:
        With the nearest names and all.
    """
    names = tuple(known)
    return UserError(f"unknown {kind} {name!r}{did_you_mean(name, names)}; there are: {', '.join(names)}")


def find_budget(name: str) -> Budget:
    """The budget of that name.

    Raises:
        UserError: there is none; the message lists the close ones and all.
    """
    known = {budget.name: budget for budget in BUDGETS}
    if name not in known:
        raise unknown("preset of an ablation", name, known)
    return known[name]
