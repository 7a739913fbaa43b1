"""A run as a folder: begun from a configuration, resumed, exported, and always left with how it ended.

What is in the folder: `pretrain.run_folder`.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pretrain.assembly import (
    TOKENIZER,
    build_loader,
    build_model,
    build_sources,
    build_tokenizer,
    check_start,
    total_steps,
)
from pretrain.config import LaunchConfig, RunConfig, apply, differences
from pretrain.data.build import SourceFiles
from pretrain.data.loading import NarratedBatch
from pretrain.data.sources import Source
from pretrain.export import SUFFIXES, Format, export
from pretrain.model.text import TextTokenizer
from pretrain.run_folder import (
    BACKBONE,
    RunOutcome,
    State,
    alone,
    checkpoint_folder,
    keep_source_files,
    last_state,
    load_state,
    open_run,
    prepare,
    refuse_changes,
    write_config,
    write_status,
)
from pretrain.task import TVTSTask, step_settings, train, trainer_of
from pretrain.text_mlm import pretrain_text
from pretrain.validation import Validation
from pretrain.yaml_config import plain
from tvts_bench.distributed import Rank, barrier, init_distributed
from tvts_bench.errors import UserError
from tvts_bench.provenance import digest
from tvts_bench.runtime import Progress, default_cache, default_workers, silent
from tvts_bench.signals import StoppedError
from tvts_bench.training.checkpoint import BEST, LAST, TrainingStateError, save_checkpoint
from tvts_bench.training.metric_logger import MetricWriter
from tvts_bench.training.trainer import Trainer

LOGGED_FILES = 1000  # accepted on resume, by name

logger = logging.getLogger(__name__)


def begin(config: RunConfig, launch: LaunchConfig, progress: Progress = silent) -> Path:
    """Train from the start, and return the exported backbone.

    Args:
        config: of the run.
        launch: where it runs; `out` is the new folder.
        progress: shows it.

    Raises:
        UserError: the folder holds something already.
        NonFiniteLossError, CollapsedError: training failed; status.json says so, too.
        StoppedError: it was stopped; `resume` resumes it.
        UserError: whatever the configuration asks for and cannot be had.
    """
    folder, free = launch.out, max(default_workers() - launch.workers, 1)
    assert folder is not None
    launch = dataclasses.replace(launch, threads=launch.threads or free)
    with init_distributed(launch.device) as rank:
        if rank.is_first:
            prepare(folder, config, launch)
        barrier(rank)
        with alone(folder, rank):
            return _train(config, launch, rank, None, progress)


def resume(folder: Path, assignments: Sequence[str] = (), progress: Progress = silent) -> Path:
    """Resume a run from its last state, or from its start if there is none.

    Args:
        folder: of the run.
        assignments: changes of where it runs (device, workers), of the batch size, or of folders of data.
        progress: shows it.

    Raises:
        UserError: no run, or one of another configuration than its state's.
        NonFiniteLossError, CollapsedError, StoppedError: as `begin`.
    """
    saved, launch = open_run(folder)
    values, where = plain(saved), {**plain(launch), "out": None}
    config, launch = apply(values, where, assignments)
    if launch.out is not None:
        raise UserError(f"a run is resumed in its own folder, {folder}, not in {launch.out}: leave out= away")
    launch = dataclasses.replace(launch, out=folder)
    refuse_changes(folder, differences(saved, config))
    state = last_state(folder, saved)
    if state is not None and (saved.validation, saved.checkpoint.best) != (config.validation, config.checkpoint.best):
        state = dataclasses.replace(state, best=None)  # measured otherwise: not comparable
    with init_distributed(launch.device) as rank, alone(folder, rank):
        if state is not None and rank.is_first and state.world_size != rank.world_size:
            logger.warning(
                "the run had %d processes and has %d now: batches and masks stay the same, rounding and dropout differ",
                state.world_size,
                rank.world_size,
            )
        barrier(rank)  # all have read what the first now changes
        if rank.is_first and config != saved:
            logger.warning("changed on resume: %s", ", ".join(differences(saved, config)))
            if state is not None and state.digest != config.lineage:  # of before there was a lineage
                save_checkpoint(checkpoint_folder(folder) / LAST, dataclasses.replace(state, digest=config.lineage))
            write_config(folder, config, launch)
        barrier(rank)
        return _train(config, launch, rank, state, progress)


def differing_files(folders: Sequence[Path]) -> dict[Path, list[str]]:
    """Of each run in `folders`, the samples whose files are others now than when it began (see `SourceFiles`).

    Raises:
        UserError: no run, or sources that cannot be read any more.
    """
    differing: dict[Path, list[str]] = {}
    known: dict[str, SourceFiles] = {}  # the runs of a grid read the same sources
    for folder in folders:
        before = SourceFiles.read(folder)
        config, launch = open_run(folder)
        key = digest([config.data.sources, config.segments])
        if before is not None and key not in known:
            known[key] = SourceFiles.of(build_sources(config, launch.cache, workers=default_workers()))
        differing[folder] = [] if before is None else before.differing(known[key])
    return differing


def export_run(folder: Path, format: Format, out: Path | None, best: bool = False) -> Path:
    """Write a run's weights for others.

    Args:
        folder: of the run.
        format: of the file.
        out: the file; None: beside the run's own ones.
        best: whether the best state is meant, not the last.

    Raises:
        TrainingStateError: there is no such state.
        UserError: no run, or the file cannot be written.
    """
    config, _ = open_run(folder)
    path = checkpoint_folder(folder) / (BEST if best else LAST)
    if not path.exists():
        why = "no best state is kept unless checkpoint.best is set" if best else "nothing was saved yet"
        raise TrainingStateError(f"there is no state {path}: {why}")
    state = load_state(path)
    name = f"{Path(BACKBONE).stem}{SUFFIXES[format]}"
    return export(out or folder / name, format, config, state.model, state.step)


def _train(config: RunConfig, launch: LaunchConfig, rank: Rank, state: State | None, progress: Progress) -> Path:
    """All of a run between its folder and its export."""
    assert launch.out is not None
    folder = launch.out
    if rank.world_size == 1 and launch.threads is not None:
        # More threads than free cores wait for each other at every small operation: measured, 3 times slower.
        torch.set_num_threads(launch.threads)
    if not rank.is_first:
        progress = silent
    task: TVTSTask | None = None
    trainer: Trainer[NarratedBatch] | None = None

    def record(outcome: RunOutcome, **facts: Any) -> None:
        """How the run stands, and how far it has come."""
        if task is not None:
            facts |= {"step": 0 if trainer is None else trainer.step, "steps": task.steps, "counts": task.counts}
            if task.measured is not None:
                remark = task.not_learned
                facts |= {"validation": task.measured, **({} if remark is None else {"not_learned": remark})}
        if rank.is_first:
            write_status(folder, outcome, config_digest=config.digest, **facts)

    try:
        task = _assemble(config, launch, rank, state, progress)
        trainer = trainer_of(task, progress)
        record("running")
        last = train(task, trainer)
        if rank.is_first:
            export(folder / BACKBONE, "safetensors", config, last.model, last.step)
        record("finished")
        return folder / BACKBONE
    except BaseException as error:  # a bug, a full memory, a second Ctrl-C: whatever ends a run is recorded
        is_stop = isinstance(error, StoppedError | KeyboardInterrupt)
        record("interrupted" if is_stop else "failed", reason=str(error) or type(error).__name__)
        raise
    finally:
        if task is not None:
            task.log_file.close()


def _assemble(config: RunConfig, launch: LaunchConfig, rank: Rank, state: State | None, progress: Progress) -> TVTSTask:
    """Everything that a run is made of, on this rank. The first rank makes what is shared, the others then find it."""
    assert launch.out is not None
    cache = launch.cache or default_cache()
    if not rank.is_first:
        barrier(rank)
    elif state is None:
        check_start(config)
    sources = build_sources(config, cache, progress, workers=default_workers())
    differing = []
    if rank.is_first:
        accept = launch.changed_files == "accept"
        differing = keep_source_files(launch.out, SourceFiles.of(sources), state, accept=accept)
    tokenizer = _tokenizer(config, launch.out, sources, rank, fresh=state is None)
    if rank.is_first:
        barrier(rank)
    loader = build_loader(config, sources, tokenizer, rank, launch.workers, launch.samples)
    model = build_model(config, tokenizer, fresh=state is None, cache=cache)
    if state is None and config.init.text_steps and rank.is_first:  # the others get it from the first
        steps = min(config.init.text_steps, total_steps(config, loader))
        nats = pretrain_text(model.text_model, tokenizer, sources, config, steps, rank.device, progress)
        logger.info("the text encoder starts with a loss of %.2f nats in masked-language modelling", nats)
    trains_text = any(parameter.requires_grad for parameter in model.text_model.parameters())
    if config.objective.reads_text_to_sort and not trains_text and rank.is_first:
        logger.warning("the text encoder stays as it starts: without L_base and with stop_gradient nothing trains it")
    settings = step_settings(config, rank)
    step = 0 if state is None else state.step
    log_file = MetricWriter(launch.out, step, active=rank.is_first)
    if differing:
        log_file.write(
            {"step": step, "changed_files": differing[:LOGGED_FILES], "changed_files_in_all": len(differing)}
        )
        log_file.flush()
    return TVTSTask(
        config=config,
        launch=launch,
        rank=rank,
        model=model,
        loader=loader,
        validation=Validation(config=config, tokenizer=tokenizer, settings=settings, cache=cache, progress=progress),
        log_file=log_file,
        steps=total_steps(config, loader),
        state_before=state,
    )


def _tokenizer(config: RunConfig, folder: Path, sources: list[Source], rank: Rank, *, fresh: bool) -> TextTokenizer:
    """The run's own tokenizer where it has one already, else made, and kept if it was built here.

    A run without a state (`fresh`) makes it anew: transcripts may have changed since it was killed.
    """
    path = folder / TOKENIZER
    if path.is_file() and not (fresh and rank.is_first):
        return TextTokenizer.load(path, config.text.max_tokens)
    tokenizer = build_tokenizer(config, sources)
    if rank.is_first and config.text.name is None:
        tokenizer.save(path)
    return tokenizer
