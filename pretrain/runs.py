"""A run as a folder: begun from a configuration, taken up again, exported, and always left with how it ended.

DIR/config.yaml           the resolved configuration, with its digest
DIR/place.yaml            where it ran; `resume` takes device, workers and cache from it
DIR/tokenizer.json        where the vocabulary was built from the transcripts
DIR/metrics.jsonl         one line a step; tensorboard/ shows the same
DIR/checkpoints/last.pt   the whole state; best.pt where checkpoint.best is set
DIR/status.json           running, finished, interrupted or failed, and why
DIR/backbone.safetensors  the encoder at the end, for `tvts-bench retrieval --ckpt`
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import distributed

from pretrain.assembly import TOKENIZER, build_loader, build_model, build_sources, build_tokenizer, total_steps
from pretrain.checkpoints import BEST, LAST, State, checkpoint_folder, load_state
from pretrain.config import FREE_ON_RESUME, Place, RunConfig, apply, differences, from_yaml, to_yaml
from pretrain.export import SUFFIXES, Format, export
from pretrain.model.text import TextTokenizer
from pretrain.objectives.health import NonFiniteLossError
from pretrain.runlog import METRICS, RunLog, read_status, write_status
from pretrain.schema import build, plain
from pretrain.text_start import pretrain_text
from pretrain.train import CollapsedError, Trainer, step_settings
from pretrain.validation import Validation
from tvts_bench.errors import UserError
from tvts_bench.runtime import Progress, default_cache, default_workers, silent
from tvts_bench.training.ranks import Rank, joined
from tvts_bench.training.signals import StoppedError
from tvts_bench.training.states import TrainingStateError

CONFIG, PLACE, BACKBONE = "config.yaml", "place.yaml", "backbone.safetensors"
_OUR_FILES = {CONFIG, PLACE, TOKENIZER, METRICS, "status.json", "tensorboard", "checkpoints", BACKBONE}
"""What a run writes."""

logger = logging.getLogger(__name__)


class RunError(UserError):
    """A folder that is no run, or cannot become one."""


class DivergedError(UserError):
    """The run has ended because training failed (NaN, collapse); status.json says so, too."""


def begin(config: RunConfig, place: Place, progress: Progress = silent) -> Path:
    """Train from the start in the new folder `place.out`, and return the exported backbone.

    Raises:
        RunError: the folder holds something already.
        DivergedError: training failed.
        StoppedError: it was told to stop; `resume` goes on.
        UserError: whatever the configuration asks for and cannot be had.
    """
    folder, free = place.out, max(default_workers() - place.workers, 1)
    assert folder is not None
    place = dataclasses.replace(place, threads=place.threads or free)
    with joined(place.device) as rank:
        if rank.is_first:
            _prepare(folder, config, place)
        _meet(rank)
        return _train(config, place, rank, None, progress)


def resume(folder: Path, assignments: Sequence[str] = (), progress: Progress = silent) -> Path:
    """Go on with a run where its last state was saved, or from its start if there is none.

    Args:
        folder: of the run.
        assignments: changes of where it runs (device, workers), of the batch size, or of folders of data.
        progress: shows it.

    Raises:
        RunError: no run, or one of another configuration than its state's.
        DivergedError, StoppedError, UserError: as `begin`.
    """
    saved, place = open_run(folder)
    values, where = plain(saved), plain(place)
    config, place = apply(values, where, assignments)
    place = dataclasses.replace(place, out=folder)
    state_path = checkpoint_folder(folder) / LAST
    state = load_state(state_path) if state_path.exists() else None
    if state is not None and state.digest != saved.digest:
        raise RunError(
            f"{state_path} belongs to another configuration ({state.digest[:12]}) than {folder / CONFIG} "
            f"({saved.digest[:12]}): the file was changed; put it back, or begin a new run with init.checkpoint"
        )
    _refuse_changes(folder, differences(saved, config))
    with joined(place.device) as rank:
        if state is not None:
            state = dataclasses.replace(state, digest=config.digest)
            if rank.is_first and state.world_size != rank.world_size:
                logger.warning(
                    "the run had %d processes and has %d now: batches stay the same, rounding differs",
                    state.world_size,
                    rank.world_size,
                )
        if rank.is_first and config != saved:
            logger.warning("changed on resume: %s", ", ".join(differences(saved, config)))
            _write_config(folder, config, place)
        _meet(rank)
        return _train(config, place, rank, state, progress)


def open_run(folder: Path) -> tuple[RunConfig, Place]:
    """The configuration that a run was begun with.

    Raises:
        RunError: `folder` holds no run.
    """
    path = folder / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise RunError(f"{folder} holds no run of tvts-pretrain: there is no {path}") from None
    place: dict[str, Any] = {}
    if (folder / PLACE).is_file():
        place = yaml.safe_load((folder / PLACE).read_text(encoding="utf-8")) or {}
    return from_yaml(text, path), build(Place, place)


def export_run(folder: Path, format: Format, out: Path | None, best: bool = False) -> Path:
    """Write a run's weights for others; by default beside the run's own files.

    Raises:
        RunError, TrainingStateError, ExportError: no run, no state, or it cannot be written.
    """
    config, _ = open_run(folder)
    path = checkpoint_folder(folder) / (BEST if best else LAST)
    if not path.exists():
        why = "no best state is kept unless checkpoint.best is set" if best else "nothing was saved yet"
        raise TrainingStateError(f"there is no state {path}: {why}")
    state = load_state(path)
    name = f"{Path(BACKBONE).stem}{SUFFIXES[format]}"
    return export(out or folder / name, format, config, state.model, state.step)


def _train(config: RunConfig, place: Place, rank: Rank, state: State | None, progress: Progress) -> Path:
    """All of a run between its folder and its export."""
    assert place.out is not None
    folder = place.out
    if rank.world_size == 1 and place.threads is not None:
        # More threads than free cores wait for each other at every small operation: measured, 3 times slower.
        torch.set_num_threads(place.threads)
    if not rank.is_first:
        progress = silent
    log = None
    try:
        trainer = _assemble(config, place, rank, state, progress)
        log = trainer.log
        if rank.is_first:
            write_status(folder, "running", step=trainer.step, steps=trainer.steps, config_digest=config.digest)
        last = trainer.run()
        written = folder / BACKBONE
        if rank.is_first:
            export(written, "safetensors", config, last.model, last.step)
            _finish(folder, "finished", trainer, None)
        return written
    except StoppedError as stop:
        _finish(folder, "interrupted", trainer, f"signal {stop.signal}")
        raise
    except (NonFiniteLossError, CollapsedError) as error:
        _finish(folder, "failed", trainer, str(error))
        raise DivergedError(f"{error} (recorded in {folder / 'status.json'})") from error
    except (UserError, OSError) as error:
        if rank.is_first:
            write_status(folder, "failed", reason=str(error), config_digest=config.digest)
        raise
    finally:
        if log is not None:
            log.close()


def _assemble(config: RunConfig, place: Place, rank: Rank, state: State | None, progress: Progress) -> Trainer:
    """Everything that a run is made of, on this rank. The first rank makes what is shared, the others then find it."""
    assert place.out is not None
    cache = place.cache or default_cache()
    if not rank.is_first:
        _meet(rank)
    sources = build_sources(config, place.cache, progress)
    tokenizer = _tokenizer(config, place.out, sources, rank)
    if rank.is_first:
        _meet(rank)
    loader = build_loader(config, sources, tokenizer, rank, place.workers)
    model = build_model(config, tokenizer, fresh=state is None)
    if state is None and config.init.text_steps and rank.is_first:  # the others get it from the first
        steps = min(config.init.text_steps, total_steps(config, loader))
        pretrain_text(model.text_model, tokenizer, sources, config, steps, rank.device, progress)
    settings = step_settings(config, rank)
    step = 0 if state is None else state.step
    return Trainer(
        config=config,
        place=place,
        rank=rank,
        model=model,
        loader=loader,
        validation=Validation(config=config, tokenizer=tokenizer, settings=settings, cache=cache, progress=progress),
        log=RunLog(place.out, step, active=rank.is_first),
        steps=total_steps(config, loader),
        state=state,
        progress=progress,
    )


def _tokenizer(config: RunConfig, folder: Path, sources: list[Any], rank: Rank) -> TextTokenizer:
    """The run's own tokenizer where it has one already, else made, and kept if it was built here."""
    path = folder / TOKENIZER
    if path.is_file():
        return TextTokenizer.load(path, config.text.max_tokens)
    tokenizer = build_tokenizer(config, sources)
    if rank.is_first and config.text.name is None:
        tokenizer.save(path)
    return tokenizer


def _prepare(folder: Path, config: RunConfig, place: Place) -> None:
    """Make the run's folder, which must not hold anything yet but a run that failed before its first state."""
    found = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
    failed_early = read_status(folder).get("outcome") == "failed" and "checkpoints" not in found
    if CONFIG in found and not failed_early:
        raise RunError(
            f"{folder} holds a run already: go on with `tvts-pretrain resume {folder}`, or give another out="
        )
    if (folder.exists() and not folder.is_dir()) or (found - _OUR_FILES if failed_early else found):
        raise RunError(f"{folder} is not an empty folder; give another out=")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TOKENIZER).unlink(missing_ok=True)
        _write_config(folder, config, place)
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror}") from error


def _write_config(folder: Path, config: RunConfig, place: Place) -> None:
    (folder / PLACE).write_text(yaml.safe_dump(plain(place), sort_keys=False), encoding="utf-8")
    (folder / CONFIG).write_text(to_yaml(config), encoding="utf-8")


def _refuse_changes(folder: Path, changed: list[str]) -> None:
    for key in changed:
        free = any(key == each or key.startswith(f"{each}.") for each in FREE_ON_RESUME)
        fixed = key.startswith("data.sources.") and key.rpartition(".")[2] not in ("root", "annotations", "batch_size")
        if not free or fixed:
            raise RunError(
                f"{key} differs from the run in {folder}; what may change on resume: out-of-run settings (device, "
                f"workers), {', '.join(FREE_ON_RESUME)}. For another configuration begin a run with init.checkpoint"
            )


def _finish(folder: Path, outcome: Any, trainer: Trainer, reason: str | None) -> None:
    if not trainer.rank.is_first:
        return
    write_status(
        folder,
        outcome,
        step=trainer.step,
        steps=trainer.steps,
        config_digest=trainer.config.digest,
        **({} if reason is None else {"reason": reason}),
        **({} if trainer.measured is None else {"validation": trainer.measured}),
        skipped=dict(trainer.loader.counts),
    )


def _meet(rank: Rank) -> None:
    if rank.world_size > 1:
        distributed.barrier()
