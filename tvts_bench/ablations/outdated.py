"""Cells that are done, and whose data is no longer what it was: they are trained or measured again.

`with_outdated`: evaluations whose data is no longer what they measured. `set_aside_changed`: pretraining that read
files which are others now, so its checkpoint is no longer that of what its key says.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tvts_bench.ablations.commands import RUN, EvaluationSpec, PretrainingError, changed_files
from tvts_bench.ablations.jobs import CellJob, cell_lock, has_checkpoint
from tvts_bench.datasets.base import Dataset
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.datasets.scripted_motion import world_folder
from tvts_bench.errors import UserError
from tvts_bench.results import load
from tvts_bench.results.grids import StageRecord, read_cell, readable_cells, write_cell
from tvts_bench.results.index import ReuseCheck

_FILES = "source_files.parquet"  # tvts-pretrain's, in the folder of a run that reads files; those that draw have none
_SHOWN = 3  # names in a message

log = logging.getLogger(__name__)


def with_outdated(
    jobs: Sequence[CellJob], specs: Sequence[EvaluationSpec], cache: Path
) -> tuple[list[CellJob], list[str]]:
    """`jobs` with the stages to run again, since their data changed or a clip failed for the moment.

    A data set that is not there, as on the login node of a cluster or before the built-in synthetic set is made, cannot
    have changed: what was measured on it stays. So does, with a sentence, what would have to be trained again first.

    Args:
        jobs: the cells.
        specs: the evaluations that were requested of them.
        cache: where the built-in synthetic set lies.

    Returns:
        The cells, and a sentence for each kind of evaluation that runs again or is left.
    """
    names = {spec.name for spec in specs}
    records = {record.key: record for job in jobs for record in readable_cells(job.out, [job.key])}
    done = {
        key: [stage for stage in record.stages if stage.status == "done" and stage.name in names]
        for key, record in records.items()
    }
    wanted = {stage.dataset for stages in done.values() for stage in stages}
    roots = {spec.dataset: spec.root for spec in specs if spec.dataset in wanted}
    data = {name: dataset for name, root in roots.items() if (dataset := _load_if_there(name, root, cache)) is not None}
    check, counts = ReuseCheck(), Counter[tuple[str, bool]]()
    checked = []
    for job in jobs:
        reasons = {stage: _reason(job, stage, data, check) for stage in done.get(job.key, ())}
        outdated = {stage.name: stage.started for stage, reason in reasons.items() if reason is not None}
        again = not outdated or has_checkpoint(job)
        counts.update((f"{stage.name} {reason}", again) for stage, reason in reasons.items() if reason is not None)
        checked.append(replace(job, outdated=outdated) if outdated and again else job)
    return checked, [_sentence(count, len(jobs), line, again) for (line, again), count in counts.items()]


def _sentence(count: int, cells: int, line: str, again: bool) -> str:
    if again:
        return f"measured again in {count} of {cells} cells: {line}"
    gone = "whose checkpoints are gone; delete the cells to train them again"
    return f"left as it is in {count} of {cells} cells, {gone}: {line}"


def _reason(job: CellJob, stage: StageRecord, data: Mapping[str, Dataset], check: ReuseCheck) -> str | None:
    """How the results of a stage differ from what would be measured now."""
    dataset = data.get(stage.dataset or "")
    if dataset is None:
        return None
    for path in stage.results:
        try:
            result = load(job.folder / path)
        except UserError:
            continue  # tables name it
        if (reason := check.difference(result, dataset)) is not None:
            return reason
    return None


def _load_if_there(name: str, root: str | None, cache: Path) -> Dataset | None:
    """The data set of that name, where it is there and can be read."""
    try:
        if root is None:
            return load_dataset(f"scripted_motion:{name}", world_folder(cache))
        return load_dataset(name, root)
    except UserError:
        return None


def set_aside_changed(
    jobs: Sequence[CellJob], query: Callable[[Sequence[Path]], dict[Path, list[str]]] = changed_files
) -> None:
    """Have the cells trained and measured again whose sources' files changed, and say so.

    What they had is kept beside it, in `run.1` and `results.1` (or the next free number). Cells that draw their samples
    cost nothing here.

    Args:
        jobs: the cells.
        query: of each run's folder, the samples whose files changed.

    Raises:
        UserError: a record cannot be read or written.
    """
    runs = {(job.folder / RUN).absolute(): job for job in jobs if (job.folder / RUN / _FILES).is_file()}
    try:
        changed = query(list(runs)) if runs else {}
    except PretrainingError as error:  # the data of finished cells may be gone
        log.warning("whether the files that cells were trained on are still the same cannot be told: %s", error)
        return
    for run, names in changed.items():
        if names:
            _start_again(runs[run], names)


def _start_again(job: CellJob, names: Sequence[str]) -> None:
    with cell_lock(job.folder) as lock:
        record = read_cell(job.out, job.key)
        if lock is None or record is None:
            return  # whoever runs it meets the change itself
        more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
        number = 1
        while any((job.folder / f"{name}.{number}").exists() for name in (RUN, "results")):
            number += 1
        for name in (RUN, "results"):
            if (job.folder / name).exists():
                (job.folder / name).rename(job.folder / f"{name}.{number}")
        stages = (StageRecord(name=each.name, protocol=each.protocol, dataset=each.dataset) for each in record.stages)
        write_cell(job.out, replace(record, stages=tuple(stages)))
    log.warning(
        "cell %s was trained on other files than there are now (%s%s): it is trained and measured again, what it had is"
        " kept in its folder as %s.%d and results.%d",
        job.key,
        ", ".join(names[:_SHOWN]),
        more,
        RUN,
        number,
        number,
    )
