"""A run's folder: what is in it, how it is made, and what of it may change.

DIR/config.yaml           the resolved configuration, with its digest
DIR/place.yaml            where it ran; `resume` takes device, workers and cache from it
DIR/source_files.parquet  what the files of its sources were, where it reads any
DIR/tokenizer.json        where the vocabulary was built from the transcripts
DIR/metrics.jsonl         one line per step; tensorboard/ shows the same
DIR/checkpoints/last.pt   the whole state; best.pt where checkpoint.best is set
DIR/status.json           running, finished, interrupted or failed, and why
DIR/backbone.safetensors  the encoder at the end, for `tvts-bench retrieval --ckpt`
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from filelock import FileLock, Timeout

from pretrain.assembly import TOKENIZER
from pretrain.config import FREE_OF_SOURCES, FREE_ON_RESUME, LaunchConfig, RunConfig, from_yaml, is_free, to_yaml
from pretrain.data.build import FILE as SOURCE_FILES
from pretrain.data.build import SourceFiles
from pretrain.yaml_config import dump, plain, read_yaml
from tvts_bench.atomic import remove_leftovers, whole_file
from tvts_bench.distributed import Rank
from tvts_bench.errors import UserError
from tvts_bench.training.checkpoint import BEST, LAST, Saved, load_checkpoint
from tvts_bench.training.metric_logger import METRICS
from tvts_bench.typed_json import typed

CONFIG, LAUNCH, BACKBONE, STATUS, LOCK = "config.yaml", "place.yaml", "backbone.safetensors", "status.json", ".lock"
RunOutcome = Literal["running", "finished", "interrupted", "failed"]
_OUR_FILES = {CONFIG, LAUNCH, TOKENIZER, SOURCE_FILES, METRICS, STATUS, BACKBONE, LOCK, "tensorboard", "checkpoints"}
"""What a run writes."""
_SHOWN = 5  # samples in a message

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class State(Saved):
    """All that a run is resumed from. No random state is among it: see `pretrain.step`."""

    header: ClassVar[Mapping[str, Any]] = {"format": 1}
    program: ClassVar[str] = "tvts-pretrain"
    remedy: ClassVar[str] = f"take {BEST} beside it or a copy in its place, or begin a new run"

    step: int  # optimiser steps done, and so the position in the data
    model: dict[str, Any]
    optimizer: dict[str, Any]
    digest: str  # the lineage of the run's configuration
    world_size: int  # of the run that wrote it
    best: float | None = None  # the best held-out measure so far, where one is followed
    measured: dict[str, float] | None = None  # held-out measures at the last validation
    collapsed_steps: int = 0  # steps in a row with collapsed embeddings
    counts: dict[str, int] = field(default_factory=dict)  # what happened to samples so far, on all ranks
    sizes: list[int] = field(default_factory=list)  # samples of each source: of others, the order is another
    alike: InitVar[int] = 0  # what states of before call `collapsed_steps`

    def __post_init__(self, alike: int) -> None:
        """Take over the old name."""
        if alike:
            object.__setattr__(self, "collapsed_steps", alike)


def checkpoint_folder(run: Path) -> Path:
    """Where a run's states are."""
    return run / "checkpoints"


def load_state(path: Path) -> State:
    """A run's state, on the CPU; see `load_checkpoint`."""
    return load_checkpoint(path, State)


def write_status(folder: Path, outcome: RunOutcome, **facts: Any) -> None:
    """Write down how the run stands, in one file written whole: `outcome`, and for a failed run its `reason`.

    Where that cannot be written it is a warning: it must not hide the error that is to be recorded.
    """
    try:
        with whole_file(folder / STATUS) as file:
            file.write((json.dumps({"outcome": outcome, **facts}, indent=1) + "\n").encode())
    except OSError as error:
        logger.warning("cannot write %s: %s", folder / STATUS, error.strerror)


def read_status(folder: Path) -> dict[str, Any]:
    """What `write_status` wrote; empty where there is nothing."""
    try:
        status = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def open_run(folder: Path) -> tuple[RunConfig, LaunchConfig]:
    """The configuration that a run was begun with.

    Raises:
        UserError: `folder` holds no run.
    """
    path = folder / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
        where = (folder / LAUNCH).read_text(encoding="utf-8") if (folder / LAUNCH).is_file() else "{}"
    except OSError:
        raise UserError(f"{folder} holds no run of tvts-pretrain: there is no {path}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} or {LAUNCH} beside it is damaged: it is not UTF-8 text") from None
    config = from_yaml(text, path)
    values = read_yaml(where, folder / LAUNCH)
    try:
        return config, typed(LaunchConfig, values)
    except UserError as error:
        raise UserError(f"{folder / LAUNCH}: {error}; without that file the defaults are taken") from None


@contextmanager
def alone(folder: Path, rank: Rank) -> Iterator[None]:
    """Be the only run that trains in `folder`, which the first rank sees to; a killed one leaves nothing in the way.

    Raises:
        UserError: another one does.
    """
    if not rank.is_first:
        yield
        return
    lock = FileLock(folder / LOCK, blocking=False)
    remove_leftovers(folder)  # others may export from it
    try:
        lock.acquire()
        remove_leftovers(checkpoint_folder(folder), alone=True)
    except Timeout:
        raise UserError(f"another process is training in {folder}; wait for it, or stop it") from None
    except (OSError, NotImplementedError) as error:  # some network file systems have no locks
        logger.warning("%s cannot be locked (%s): see to it that no other run trains there", folder, error)
    try:
        yield
    finally:
        lock.release()


def prepare(folder: Path, config: RunConfig, launch: LaunchConfig) -> None:
    """Make the run's folder.

    Args:
        folder: which must not hold anything yet but a run that failed before its first state.
        config: what the run is.
        launch: where it runs.

    Raises:
        UserError: it holds something, or cannot be written.
    """
    names = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
    failed_early = read_status(folder).get("outcome") == "failed" and "checkpoints" not in names
    if CONFIG in names and not failed_early:
        raise UserError(
            f"{folder} holds a run already: resume it with `tvts-pretrain resume {folder}`, or give another out="
        )
    if (folder.exists() and not folder.is_dir()) or (names - _OUR_FILES if failed_early else names):
        raise UserError(f"{folder} is not an empty folder; give another out=")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TOKENIZER).unlink(missing_ok=True)
        write_config(folder, config, launch)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error


def write_config(folder: Path, config: RunConfig, launch: LaunchConfig) -> None:
    """Keep what the run is and where it runs, each file written whole. Changed files are accepted once only.

    Args:
        folder: of the run.
        config: what it is.
        launch: where it runs.
    """
    launch = replace(launch, changed_files="refuse")
    for name, text in ((LAUNCH, dump(plain(launch))), (CONFIG, to_yaml(config))):
        with whole_file(folder / name) as file:
            file.write(text.encode())


def last_state(folder: Path, saved: RunConfig) -> State | None:
    """The run's last state, None where there is none yet; refused if another configuration made it."""
    path = checkpoint_folder(folder) / LAST
    if not path.exists():
        return None
    state = load_state(path)
    if state.digest not in (saved.lineage, saved.digest):  # the second: of before there was a lineage
        raise UserError(
            f"{path} belongs to another configuration than {folder / CONFIG}: the file was changed; put it back, or "
            "begin a new run with init.checkpoint"
        )
    return state


def keep_source_files(folder: Path, now: SourceFiles, state: State | None, *, accept: bool) -> list[str]:
    """Keep what the files of the run's sources are.

    Args:
        folder: of the run.
        now: what they are.
        state: that the run is resumed from, if it is.
        accept: whether others than when it began are taken as they are.

    Returns:
        The samples whose files are others; none as a rule.

    Raises:
        UserError: there are such and they are not to be accepted, or it cannot be written.
    """
    differing = [] if state is None else _changed_files(folder, state, now, accept)
    try:
        now.write(folder)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}") from error
    return differing


def _changed_files(folder: Path, state: State, now: SourceFiles, accept: bool) -> list[str]:
    before = SourceFiles.read(folder)
    if before is None and len(now):
        unknown = "%s does not say what the files of its sources were: that they are the same is taken for granted"
        logger.warning(unknown, folder)
    differing = [] if before is None else before.differing(now)
    if not differing:
        return []
    shown = ", ".join(differing[:_SHOWN]) + (f" and {len(differing) - _SHOWN:,} more" * (len(differing) > _SHOWN))
    what = f"{len(differing):,} samples of the run in {folder}, now at step {state.step:,}, have other files: {shown}"
    if not accept:
        raise UserError(
            f"{what}; put them back, begin a new run with out=DIR, or accept them as they are (a copy of the data,"
            " say) by adding changed_files=accept"
        )
    logger.warning("%s; accepted, and recorded in %s", what, folder / METRICS)
    return differing


def refuse_changes(folder: Path, changed: list[str]) -> None:
    """Refuse `changed` keys that would make another run of the one in `folder`."""
    for key in changed:
        if not is_free(key):
            kept = checkpoint_folder(folder) / LAST
            raise UserError(
                f"{key} differs from the run in {folder}; what may change on resume: where it runs (device, workers, "
                f"threads, log_every, cache), {', '.join(FREE_ON_RESUME)}, and of a source "
                f"{', '.join(FREE_OF_SOURCES)}. For another configuration begin a run with init.checkpoint={kept}"
            )
