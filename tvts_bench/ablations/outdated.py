"""Evaluations of cells that are done, and whose data is no longer what they measured: they run again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tvts_bench.ablations.cells import StageRecord, readable_cells
from tvts_bench.ablations.jobs import CellJob
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
    sentences: tuple[str, ...]  # one an evaluation and reason


def with_outdated(jobs: Sequence[CellJob], measures: Sequence[Measure], cache: Path) -> CheckedJobs:
    """`jobs` with the stages to run again, since their data set changed or a clip failed for the moment.

    A data set that is not there, as on the login node of a cluster or before the embedded world is made, cannot have
    changed: what was measured on it stays.

    Args:
        jobs: the cells.
        measures: what their stages measure, by the name of the stage.
        cache: where the embedded world lies.
    """
    if not jobs:
        return CheckedJobs(jobs=(), sentences=())
    by_name = {measure.name: measure for measure in measures}
    records = {record.key: record for record in readable_cells(jobs[0].out, (job.key for job in jobs))}
    done = {
        job.key: [stage for stage in records[job.key].stages if stage.status == "done" and stage.name in by_name]
        for job in jobs
        if job.key in records
    }
    data = {
        name: dataset
        for name in {stage.name for stages in done.values() for stage in stages}
        if (dataset := _there(by_name[name], cache)) is not None
    }
    check = ReuseCheck()
    checked, counts = [], dict[str, int]()
    for job in jobs:
        outdated: dict[str, float | None] = {}
        for stage in done.get(job.key, ()):
            reasons = list(_reasons(job, stage, data, check))
            if reasons:
                outdated[stage.name] = stage.started
                line = f"{stage.name} {reasons[0]}"
                counts[line] = counts.get(line, 0) + 1
        checked.append(replace(job, outdated=outdated) if outdated else job)
    sentences = tuple(f"measured again in {count} of {len(jobs)} cells: {line}" for line, count in counts.items())
    return CheckedJobs(jobs=tuple(checked), sentences=sentences)


def _reasons(job: CellJob, stage: StageRecord, data: Mapping[str, Dataset], check: ReuseCheck) -> Iterator[str]:
    """How the results of a stage differ from what would be measured now."""
    if stage.name not in data:
        return
    for path in stage.results:
        try:
            result = load(job.folder / path)
        except UserError:
            continue  # tables name it
        reason = check.difference(result, data[stage.name])
        if reason is not None:
            yield reason


def _there(measure: Measure, cache: Path) -> Dataset | None:
    """The data set of an evaluation, where it is there and can be read."""
    try:
        if measure.root is None:
            return load_dataset(f"scripted_motion:{measure.dataset}", world_folder(cache))
        return load_dataset(measure.dataset, measure.root)
    except UserError:
        return None
