"""Evaluations of cells that are done, and whose data is no longer what they measured: they run again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tvts_bench.ablations.cells import StageRecord, readable_cells
from tvts_bench.ablations.jobs import CellJob, has_checkpoint
from tvts_bench.ablations.stages import Measure
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.datasets.scripted_motion import world_folder
from tvts_bench.errors import UserError
from tvts_bench.results import load
from tvts_bench.reuse import ReuseCheck


@dataclass(frozen=True, kw_only=True)
class CheckedJobs:
    """Cells that know which of their evaluations no longer hold."""

    jobs: tuple[CellJob, ...]
    sentences: tuple[str, ...]  # one for each evaluation and reason


def with_outdated(jobs: Sequence[CellJob], measures: Sequence[Measure], cache: Path) -> CheckedJobs:
    """`jobs` with the stages to run again, since their data changed or a clip failed for the moment.

    A data set that is not there, as on the login node of a cluster or before the embedded world is made, cannot have
    changed: what was measured on it stays. So does, with a sentence, what would have to be trained again first.

    Args:
        jobs: the cells.
        measures: the evaluations that they were asked for.
        cache: where the embedded world lies.
    """
    names = {measure.name for measure in measures}
    records = {record.key: record for job in jobs for record in readable_cells(job.out, [job.key])}
    done = {
        key: [stage for stage in record.stages if stage.status == "done" and stage.name in names]
        for key, record in records.items()
    }
    wanted = {stage.dataset for stages in done.values() for stage in stages}
    roots = {measure.dataset: measure.root for measure in measures if measure.dataset in wanted}
    data = {name: dataset for name, root in roots.items() if (dataset := _there(name, root, cache)) is not None}
    check, counts = ReuseCheck(), Counter[tuple[str, bool]]()
    checked = []
    for job in jobs:
        reasons = {stage: _reason(job, stage, data, check) for stage in done.get(job.key, ())}
        outdated = {stage.name: stage.started for stage, reason in reasons.items() if reason is not None}
        again = not outdated or has_checkpoint(job)
        counts.update((f"{stage.name} {reason}", again) for stage, reason in reasons.items() if reason is not None)
        checked.append(replace(job, outdated=outdated) if outdated and again else job)
    sentences = tuple(_sentence(count, len(jobs), line, again) for (line, again), count in counts.items())
    return CheckedJobs(jobs=tuple(checked), sentences=sentences)


def _sentence(count: int, cells: int, line: str, again: bool) -> str:
    if again:
        return f"measured again in {count} of {cells} cells: {line}"
    gone = "whose checkpoints are gone; delete the cells to train them again"
    return f"left as it is in {count} of {cells} cells, {gone}: {line}"


def _reason(job: CellJob, stage: StageRecord, data: Mapping[str, Dataset], check: ReuseCheck) -> str | None:
    """How the results of a stage differ from what would be measured now."""
    if stage.dataset not in data:
        return None
    for path in stage.results:
        try:
            result = load(job.folder / path)
        except UserError:
            continue  # tables name it
        if (reason := check.difference(result, data[stage.dataset])) is not None:
            return reason
    return None


def _there(name: str, root: str | None, cache: Path) -> Dataset | None:
    """The data set of that name, where it is there and can be read."""
    try:
        if root is None:
            return load_dataset(f"scripted_motion:{name}", world_folder(cache))
        return load_dataset(name, root)
    except UserError:
        return None
