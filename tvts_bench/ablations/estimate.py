"""How long cells will take: from stages done in this folder, else from what a core of a busy Xeon with AMX took."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tvts_bench.ablations.cells import PRETRAIN, read_cell, readable_cells
from tvts_bench.ablations.jobs import CellJob, is_done
from tvts_bench.ablations.plan import PlannedCell
from tvts_bench.ablations.stages import Stage
from tvts_bench.ablations.standing import stage_seconds

A_CLIP = {"scripted_motion_tiny": 1.05 / 64, "scripted_motion_mini": 0.5 / 64, "scripted_motion_quick": 0.1 / 64}
"""Seconds of pretraining for one clip of one step, by preset."""
A_TEXT = 0.12 / 128  # for one text of one step of the text encoder's, before
MEASURES = {
    "retrieval": {"ssv2": 30.0, "k400": 18.0, "ucf101": 15.0, "hmdb51": 15.0},
    "probe": {"ssv2": 75.0, "k400": 30.0, "ucf101": 15.0, "hmdb51": 15.0},
    "finetune": {"ssv2": 170.0, "k400": 145.0, "ucf101": 80.0, "hmdb51": 80.0},
}
"""Seconds of an evaluation of a `scripted_motion_mini` backbone on a set of the embedded world, its probe with linear
heads only. The UCF-101- and HMDB-51-like sets were timed on slower cores, and scaled by what the others took there."""


def known_seconds(out: Path, cells: Sequence[PlannedCell]) -> dict[str, float]:
    """Mean seconds of each stage over those of `cells` where it is done, by its name."""
    return stage_seconds(readable_cells(out, (cell.key for cell in cells)))


def cell_seconds(cell: PlannedCell, job: CellJob, known: Mapping[str, float]) -> float | None:
    """Seconds on one core that are left of a cell; None where nobody has measured the like."""
    record, total = read_cell(job.out, job.key), 0.0
    for stage in job.stages:
        if record is not None and is_done(job, stage, record):
            continue
        guess = known.get(stage.name) or _guess(cell, stage)
        if guess is None:
            return None
        total += guess
    return total


def _guess(cell: PlannedCell, stage: Stage) -> float | None:
    preset = cell.asked.preset
    if preset not in A_CLIP:
        return None
    if stage.protocol != PRETRAIN:
        times = A_CLIP[preset] / A_CLIP["scripted_motion_mini"] if stage.protocol == "finetune" else 1.0
        seconds = MEASURES.get(stage.protocol, {}).get(stage.dataset or "")
        return None if seconds is None or cell.asked.data else seconds * times
    config = cell.config["pretraining"]
    if config["steps"] is None:
        return None
    clips = config["steps"] * config["data"]["batch_size"]
    texts = min(config["init"]["text_steps"], config["steps"]) * config["init"]["text_batch"]
    return float(clips * A_CLIP[preset] + texts * A_TEXT)
