"""Cells whose pretraining read files that are others now: their checkpoint is no longer that of what their key says."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tvts_bench.ablations.cells import StageRecord, read_cell, write_cell
from tvts_bench.ablations.claims import claim
from tvts_bench.ablations.jobs import CellJob
from tvts_bench.ablations.resolve import PretrainingError, changed_files
from tvts_bench.ablations.stages import RUN

_FILES = "source_files.parquet"  # tvts-pretrain's, in the folder of a run that reads files; those that draw have none
_SHOWN = 3  # names in a message

log = logging.getLogger(__name__)


def set_aside_changed(
    jobs: Sequence[CellJob], ask: Callable[[Sequence[Path]], dict[Path, list[str]]] = changed_files
) -> None:
    """Have the cells trained and measured again whose sources' files changed, and say so.

    What they had is kept beside it, in `run.1` and `results.1` (or the next free number). Cells that draw their samples
    cost nothing here.

    Args:
        jobs: the cells.
        ask: of each run's folder, the samples whose files changed.

    Raises:
        UserError: a record cannot be read or written.
    """
    runs = {(job.folder / RUN).absolute(): job for job in jobs if (job.folder / RUN / _FILES).is_file()}
    try:
        found = ask(list(runs)) if runs else {}
    except PretrainingError as error:  # the data of finished cells may be gone
        log.warning("whether the files that cells were trained on are still the same cannot be told: %s", error)
        return
    for run, names in found.items():
        if names:
            _begin_anew(runs[run], names)


def _begin_anew(job: CellJob, names: Sequence[str]) -> None:
    with claim(job.folder) as lock:
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
