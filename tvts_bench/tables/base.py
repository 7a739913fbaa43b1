"""What a table is: rows, columns, and which protocol on which data set fills a cell. Nothing here is measured.

Below the types: published numbers, and what tables share, protocols, the columns of grids and the rows of the built-in
synthetic set (ScriptedMotion).
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

from tvts_bench.metrics.measured import FORWARD

EMBEDDED = "scripted_motion"  # the built-in synthetic set (ScriptedMotion), whose variants stand in for the real ones
TITLES = {"ssv2": "SSV2", "k400": "K400", "ucf101": "UCF-101", "hmdb51": "HMDB-51", EMBEDDED: "ScriptedMotion"}
"""Data sets as tables print them."""


FAILED: Final = "failed"  # a run that did not converge, as the paper itself reports

Published = float | Literal["failed"] | None
"""A number in percent, a run that failed, or nothing where the paper has none."""


def dataset_in_words(name: str) -> str:
    """A data set's name (`Dataset.name`) as tables print it."""
    base, _, fold = name.removeprefix(f"{EMBEDDED}-").partition("-fold")
    split = f", split {fold}" if fold else ""
    title = TITLES.get(base, base)
    return f"{TITLES[EMBEDDED]} (like {title}{split})" if name.startswith(EMBEDDED) else f"{title}{split}"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One way to measure: an evaluator, what is changed of its default, and which of its numbers is meant."""

    name: str  # in tables and files
    command: str  # of tvts-bench, which runs it alone, and in the records of grids
    evaluator: str  # plug-in of tvts_bench.evaluators
    settings: Mapping[str, Any] = field(default_factory=dict)  # fields that differ from the plug-in's DEFAULT
    condition: str = FORWARD  # of the metric
    like_paper: bool = True  # False: another protocol than the published number's, so no difference is shown
    note: str | None = None  # what sets it apart from how the published number was made


@dataclass(frozen=True, kw_only=True)
class Column:
    """One number of a row."""

    name: str  # unique in the table; in published/*.csv where there is a published number
    heading: str
    dataset: str  # "ssv2"; on the built-in synthetic set "scripted_motion:ssv2"
    metric: str  # of the result: "R@1", "top-1"
    protocols: tuple[Protocol, ...]  # the first unless another is requested
    published: bool = True  # False: ours, shown only where it was measured


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One method."""

    name: str  # on the command line and in files, unique in the table
    group: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)  # label column -> text
    published: Mapping[str, Published] = field(default_factory=dict)  # column -> number
    backbone: str | None = None  # what is measured in this row on the built-in synthetic set; None: the paper's row
    cell: str | None = None  # the row of the table's grid that fills it


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table of the paper."""

    name: str  # "table4", also of its published numbers
    title: str
    labels: Mapping[str, str]  # label column -> heading
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    embedded_rows: tuple[TableRow, ...] = ()  # shown below the others on the built-in synthetic set
    baselines: tuple[str, ...]  # rows that the others are tested against: the first of them that was measured
    grid: str | None = None  # of `tvts-bench ablate`, whose cells fill the rows; None: backbones do
    examples: tuple[str, ...]  # command lines, for the help of its command

    @property
    def datasets(self) -> tuple[str, ...]:
        """The data sets of its columns, each once."""
        return tuple(dict.fromkeys(column.dataset for column in self.columns))

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)


def published_rows(
    table: str,
    columns: tuple[Column, ...],
    *,
    name: str,
    group: str | None = None,
    labels: tuple[str, ...] = (),
    cells: Mapping[str, str] | None = None,
) -> tuple[TableRow, ...]:
    """Rows of published/TABLE.csv.

    Args:
        table: name of the table.
        columns: those with `published` are read.
        name: field that names a row.
        group: field that groups rows.
        labels: fields that are shown beside the name.
        cells: name of a row -> row of the table's grid; a row that is not there is one of its own name.

    Returns:
        In the paper's order.
    """
    numbers = [column.name for column in columns if column.published]
    return tuple(
        TableRow(
            name=record[name],
            group=record[group] if group else "",
            labels={label: record[label] for label in labels},
            published={number: published_value(record[number]) for number in numbers},
            cell=cells.get(record[name], record[name]) if cells is not None else None,
        )
        for record in read_published(table)
    )


@cache
def read_published(table: str) -> tuple[Mapping[str, str], ...]:
    """The rows of a published table (published/README.md names the source) in the paper's order.

    Args:
        table: "table1" to "table5" or "table7".

    Returns:
        Column -> text of each row; "" where the paper says nothing.
    """
    file = resources.files("tvts_bench.tables").joinpath("published", f"{table}.csv")
    return tuple(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def published_value(text: str) -> Published:
    """A field of a published table as a value."""
    if text == FAILED:
        return FAILED
    return float(text) if text else None


RETRIEVAL = Protocol(
    name="zero-shot retrieval",
    command="retrieval",
    evaluator="zero_shot_retrieval",
    note="zero-shot retrieval takes the middle frame of each segment; the published numbers are a draw of random ones",
)

CACHED_PROBE = Protocol(
    name="linear probe, cached features",
    command="probe",
    evaluator="cached_probe",
    settings={"heads": ("linear",)},
    condition="linear",
    like_paper=False,
    note="the linear probe is the cached protocol: features are extracted once, without augmentation. The paper's"
    " trains online on augmented clips, so no difference to its numbers is shown",
)

ONLINE_PROBE = Protocol(
    name="linear probe, online",
    command="probe",
    evaluator="online_probe",
    condition="linear, online",
    note="the linear probe is the paper's online recipe; its epoch is chosen on held-out training clips, not on the"
    " test set",
)

FINETUNE = Protocol(
    name="fine-tuning",
    command="finetune",
    evaluator="finetune",
    condition="fine-tuned",
    note="fine-tuning as the recipe says; the published numbers were made with what `--habit paper` names",
)

ONE_SPLIT = replace(
    FINETUNE,
    note="UCF-101 and HMDB-51: official split 1; `tvts-bench finetune --split all` gives the mean of the three",
)

GROUP = "built-in set"

TVTS = TableRow(name="TVTS (shipped)", group=GROUP, backbone="tvts:scripted_motion_tiny")
BASE_ONLY = TableRow(name="L_base only (baseline)", group=GROUP, backbone="tvts:scripted_motion_tiny_l_base")
RANDOM = TableRow(name="random initialisation", group=GROUP, backbone="tvts:tiny")
PIXELS = TableRow(name="pixels (mean colours)", group=GROUP, backbone="pixels")


def finetuned_columns(datasets: tuple[str, ...], protocol: Protocol, heading: str = "top-1") -> tuple[Column, ...]:
    """Top-1 as in the paper, on each data set.

    Args:
        datasets: Of the table.
        protocol: How each is fine-tuned.
        heading: Of the columns.
    """
    return tuple(
        Column(name=f"{dataset}_top1", heading=heading, dataset=dataset, metric="top-1", protocols=(protocol,))
        for dataset in datasets
    )


def grid_columns(datasets: tuple[str, ...], finetune: Protocol) -> tuple[Column, ...]:
    """Fine-tuned top-1 as in the paper; then ours, the linear probe and zero-shot R@1. Each on all of `datasets`."""
    ours = (("linear_top1", "linear top-1", "top-1", CACHED_PROBE), ("r1", "R@1", "R@1", RETRIEVAL))
    return finetuned_columns(datasets, finetune, "fine-tuned top-1") + tuple(
        Column(
            name=f"{dataset}_{name}",
            heading=heading,
            dataset=dataset,
            metric=metric,
            protocols=(protocol,),
            published=False,
        )
        for dataset in datasets
        for name, heading, metric, protocol in ours
    )
