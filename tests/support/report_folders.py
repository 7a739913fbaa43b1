"""A folder of results made by hand: a table, two backbones on a few real videos, a grid, curves."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.grids import RETRIEVAL, cell, grid
from tests.support.plain_videos import write_plain_video
from tests.support.results import classification, provenance, retrieval
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.metrics.measured import SplitCoverage
from tvts_bench.results import Result
from tvts_bench.results.files import write_files
from tvts_bench.results.index import read_index
from tvts_bench.tables import table4
from tvts_bench.tables.assemble import TableResults, assemble
from tvts_bench.tables.model import CellResults, as_document
from tvts_bench.tables.render import write_table
from tvts_bench.version import VERSION

HOSTILE = "<script>alert('x')</script>&\"'"
COLOURS = {"blue": (20, 20, 180), HOSTILE.replace("/", "_"): (180, 20, 20)}


def videos(root: Path, each: int = 3) -> Dataset:
    """Videos of two classes of plain colours, one named to break a page."""
    for name, colour in COLOURS.items():
        for number in range(each):
            write_plain_video(root / name / f"{number}.mp4", [value + 20 * number for value in colour])
    return load_dataset("folder", root)


def retrieved(dataset: Dataset, backbone: str, found: Mapping[str, Sequence[str]], **changes: Any) -> Result:
    """A result on `dataset` where `found` says which clips each query found, nearest first."""
    split = dataset.splits[0]
    labels = {record.id: record.label for record in dataset.records(split)}
    rows = [(query, rank, near) for query, nearest in found.items() for rank, near in enumerate(nearest, start=1)]
    hits = [[labels[near] == labels[query] for near in nearest] for query, nearest in found.items()]
    covered = SplitCoverage(
        split=split,
        fingerprint=dataset.fingerprint(split),
        listed=len(labels) + 1,
        used=len(labels),
        failed={HOSTILE: "does not exist"},
    )
    base = retrieval(hits, dataset="folder", backbone=backbone, parts=(covered,), **changes)
    return replace(
        base,
        provenance={**provenance(VERSION), "root": str(dataset.root), "created": "2026-01-02T03:04:05+00:00"},
        tables={
            "neighbors": {
                "seed": [0] * len(rows),
                "query": [query for query, _, _ in rows],
                "query_label": [labels[query] for query, _, _ in rows],
                "rank": [rank for _, rank, _ in rows],
                "neighbor": [near for _, _, near in rows],
                "neighbor_label": [labels[near] for _, _, near in rows],
                "similarity": [1 - rank / 10 for _, rank, _ in rows],
                "hit": [labels[query] == labels[near] for query, _, near in rows],
            }
        },
    )


def rankings(dataset: Dataset, rotate: int) -> dict[str, list[str]]:
    """Every clip finds the others in their order, from `rotate` places further on."""
    ids = [record.id for record in dataset.records(dataset.splits[0])]
    found = {}
    for place, query in enumerate(ids):
        turned = ids[place + rotate :] + ids[: place + rotate]
        found[query] = [other for other in turned if other != query][:5]
    return found


def results_folder(out: Path) -> Path:
    """OUT with two retrieval results, a probe, a filled table and fine-tuning curves."""
    dataset = videos(out.parent / "videos")
    for number, name in enumerate(("a", HOSTILE)):
        write_files(retrieved(dataset, name, rankings(dataset, number)), out)
    write_files(classification([True, True, False, True], backbone="a"), out)
    write_table_of(out)
    curve = out / "folder-train-tvts-a-finetune-1"
    curve.mkdir()
    (curve / "steps.csv").write_text("step,epoch,loss\n1,0,3.5\n2,0,2.5\n3,0,nan\n4,0,1.5\n5,0,1.", encoding="utf-8")
    (curve / "epochs.csv").write_text("epoch,step,measured_top_1\n0,2,40\n1,4,60\n", encoding="utf-8")
    return out


def write_table_of(out: Path) -> None:
    """Table 4 with one measured row."""
    result = retrieval([[True], [False], [True], [True]], backbone="c")
    write_files(result, out / "runs")
    stored = read_index(out).by_key[result.run.key]
    row = table4.TABLE.embedded_rows[0].name
    columns = [column.name for column in table4.TABLE.columns if column.metric == "R@1"]
    found = {(row, column): CellResults(stored=((None, stored),)) for column in columns}
    write_table(as_document(assemble(table4.TABLE, TableResults(cells=found, embedded=True), out)), out)


def grid_folder(out: Path) -> Path:
    """A grid of three rows: two seeds, one that diverged, one that was never begun."""
    rows = {
        "none": {
            str(seed): cell(out, f"n{seed}", seed, {RETRIEVAL: retrieval([[True], [seed > 0]], backbone=f"n{seed}")})
            for seed in (0, 1)
        },
        "k_way": {"0": cell(out, "k0", 0, {}, {"pretrain": f"loss is NaN {HOSTILE}"})},
        "pairwise": {"0": "p0"},
    }
    grid(out, rows)
    for key, loss in {"n0": 4.0, "n1": 5.0, "k0": 9.0}.items():
        lines = [f'{{"step": {step}, "base": {loss / step}}}\n' for step in range(1, 4)]
        log = out / "cells" / key / "run" / "metrics.jsonl"
        log.parent.mkdir()
        log.write_text("".join(lines) + '{"step": 4, "ba', encoding="utf-8")
    return out
