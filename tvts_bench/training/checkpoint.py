"""What a training is resumed from: written whole or not at all, read without running anything in it, in its folder.

FOLDER/last.pt   the whole state; FOLDER/best.pt the weights of the epoch that was best so far

A training's weights come from the files that it has read so far, whatever their names. Whoever reads a file for the
first time takes its sha256 as well, so a copy of the data on another disk is known as equal: it is read once, when the
training is resumed there.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch

from tvts_bench.atomic import sync_folder
from tvts_bench.distributed import Rank, all_gather_objects
from tvts_bench.errors import UserError
from tvts_bench.models.saving import save_pickled
from tvts_bench.runtime import Progress, silent
from tvts_bench.snapshot import (
    UNREADABLE,
    FileSignature,
    Snapshot,
    content_sha256,
    file_signatures,
    signature,
    snapshot,
)

LAST, BEST = "last.pt", "best.pt"

log = logging.getLogger(__name__)


class TrainingStateError(UserError):
    """A state that cannot be written, read, or resumed from with these settings."""


class Saved:
    """A frozen dataclass of tensors and plain values as a file. `header` tells one kind of file from others."""

    header: ClassVar[Mapping[str, Any]]
    program: ClassVar[str] = "tvts-bench"  # the program, for messages
    remedy: ClassVar[str] = "give another --out, or begin anew without --resume once it is moved away"

    digest: str  # of the training that it belongs to


S = TypeVar("S", bound=Saved)


@dataclass(frozen=True, kw_only=True, eq=False)
class BestWeights(Saved):
    """The weights that are tested in the end, and when they were reached."""

    header: ClassVar[Mapping[str, Any]] = {"format": 2, "kind": "BestWeights"}

    digest: str  # of the training, as in `TrainingState`
    epoch: int  # epochs done then
    model: dict[str, Any]  # of what is trained, averaged where the recipe says so


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingState(Saved):
    """All that a training is resumed from. No random state is among it: every draw is made from (seed, step)."""

    header: ClassVar[Mapping[str, Any]] = {"format": 2, "kind": "TrainingState"}

    digest: str  # of everything that can change the weights: recipe, seed, data, backbone
    step: int  # optimiser steps done, and so the position in the data
    steps: int  # of the whole training
    model: dict[str, Any]  # of what is trained
    optimizer: dict[str, Any]
    average: dict[str, Any] | None  # moving average of the weights, where one is kept
    loss_sum: float  # over the steps of the unfinished epoch
    history: list[dict[str, float]] = field(default_factory=list)  # one record per epoch
    failed: dict[str, str] = field(default_factory=dict)  # training clips that could not be read: id -> reason
    transient: list[str] = field(default_factory=list)  # ids of clips whose failure may be of the moment
    processes: list[int] = field(default_factory=lambda: [1])  # how many there were, and again whenever that changed
    files: str = '{"signatures": {}, "contents": {}}'  # what it has read so far: `FilesRead.text`


def save_checkpoint(path: Path, state: Saved) -> None:
    """Write `state`; a file that is there stays until the new one is complete on disk.

    Raises:
        TrainingStateError: it cannot be written, with the system's reason.
    """
    content = {each.name: getattr(state, each.name) for each in fields(state)}  # type: ignore[arg-type]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_pickled(path, {**state.header, **content})
        sync_folder(path.parent)
    except OSError as error:
        kept = f"; the state saved before stays in {path}" if path.is_file() else ""
        raise TrainingStateError(f"cannot write {path}: {error.strerror}{kept}") from error


def try_to_save(path: Path, state: Saved, then: str = "; training continues") -> None:
    """Write `state`; where that cannot be, a warning says so.

    Args:
        path: the file.
        state: its content.
        then: what happens next, for the warning.
    """
    try:
        save_checkpoint(path, state)
    except TrainingStateError as error:
        log.warning("%s%s", error, then)


def load_checkpoint(path: Path, kind: type[S]) -> S:
    """What `save_checkpoint` wrote, on the CPU; nothing in the file is run.

    Raises:
        TrainingStateError: missing, damaged, or another kind of file.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingStateError(f"there is no state {path}; {kind.remedy}") from None
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for files that are not its own
        # Not what torch says: it advises to switch off what keeps a file from running code.
        problem = f"is not a readable state of a training: damaged or another kind of file ({type(error).__name__})"
        raise TrainingStateError(f"{path} {problem}; {kind.remedy}") from None
    try:
        if any(content.pop(name) != value for name, value in kind.header.items()):
            raise KeyError
        return kind(**content)
    except (AttributeError, KeyError, TypeError):
        raise TrainingStateError(
            f"{path} is not a state that this version of {kind.program} wrote; {kind.remedy}"
        ) from None


class FilesRead:
    """The files of the splits that a training depends on: as they were before it, and the contents of those it read."""

    def __init__(self, splits: Mapping[str, Mapping[str, Path]] | None = None) -> None:
        """`splits`: name -> id -> path, first the one that is trained on. Signatures are of now: before any is read."""
        self._paths = {name: dict(files) for name, files in (splits or {}).items()}
        self._signatures = {name: file_signatures(files) for name, files in self._paths.items()}
        self._contents: dict[str, dict[str, str]] = {name: {} for name in self._paths}

    def add(self, contents: Mapping[str, str], split: str | None = None) -> None:
        """What files of `split` (None: the one that is trained on) held: id -> sha256 (hex), or `UNREADABLE`."""
        if self._paths:
            self._contents[split or next(iter(self._paths))].update(contents)

    def knows(self, names: Iterable[str], split: str) -> bool:
        """Whether the contents of all `names` (ids of `split`) were added."""
        return all(name in self._contents[split] for name in names)

    def snapshot(self, split: str) -> Snapshot:
        """Of all the split's files; their contents are known where each was read."""
        read = {name: content for name, content in self._contents[split].items() if content != UNREADABLE}
        return snapshot(self._signatures[split], read)

    def text(self) -> str:
        """All of it as JSON, for `changed` and `restore`."""
        return json.dumps({"signatures": self._signatures, "contents": self._contents})

    def changed(self, text: str, rank: Rank) -> dict[str, int]:
        """Split -> how many of the files that had been read when `text` was written are others now.

        Every rank looks at its share, and at contents only where a signature differs. All ranks must call this.
        """
        before = json.loads(text)
        mine_changed: dict[str, int] = {}
        for split, contents in before["contents"].items():
            signatures, paths = before["signatures"][split], self._paths.get(split, {})
            mine = list(contents)[rank.rank :: rank.world_size]
            mine_changed[split] = sum(not _is_same(paths.get(name), signatures[name], contents[name]) for name in mine)
        shares = all_gather_objects(mine_changed, rank.world_size)
        return {split: count for split in mine_changed if (count := sum(share[split] for share in shares))}

    def restore(self, text: str) -> None:
        """Restore the contents of what an earlier part of the training has read, and which has not `changed`."""
        for split, contents in json.loads(text)["contents"].items():
            self._contents[split].update(contents)


def _is_same(path: Path | None, before: list[int] | None, content: str) -> bool:
    if path is None:
        return False
    now = signature(path)
    if before is not None and now == FileSignature(*before):
        return True
    return content_sha256(path) == content if now is not None else before is None


@dataclass(frozen=True, kw_only=True)
class RunDir:
    """The folder of a supervised training. Changes no number."""

    folder: Path
    digest: str  # of everything that can change the weights; a state of another one is refused
    resume: bool = False
    progress: Progress = silent
    files: FilesRead = field(default_factory=FilesRead)  # of the splits that the weights depend on

    @property
    def last(self) -> Path:
        """The file of the whole state."""
        return self.folder / LAST

    def state(self) -> TrainingState | None:
        """The state to resume from.

        Raises:
            TrainingStateError: there is one, and `resume` is off, or it is not one of this training.
        """
        if not self.last.exists():
            return None
        state = self._load(self.last, TrainingState)
        if not self.resume:
            raise TrainingStateError(
                f"{self.folder} holds this training at step {state.step} of {state.steps}: add --resume to continue"
                " there, or give another --out to begin anew"
            )
        return state

    def begin_anew(self) -> None:
        """Set a training that is there aside, and say so; only one process calls this.

        Raises:
            TrainingStateError: the system does not let it be renamed.
        """
        if self.last.exists():
            log.warning("a training of this kind begins anew; the one that was there is kept in %s", self.set_aside())

    def set_aside(self) -> Path:
        """Rename the folder, with all that an earlier training left there; where it is now.

        Raises:
            TrainingStateError: the system does not let it be renamed.
        """
        number = 1
        while (aside := self.folder.with_name(f"{self.folder.name}.{number}")).exists():
            number += 1
        try:
            return self.folder.rename(aside)
        except OSError as error:
            raise TrainingStateError(
                f"cannot rename {self.folder} to {aside.name}: {error.strerror or error}"
            ) from error

    def save_best(self, epoch: int, weights: dict[str, Any]) -> None:
        """Write the weights of the epoch (counted from 1) that is the best so far.

        Raises:
            TrainingStateError: they cannot be written.
        """
        save_checkpoint(self.folder / BEST, BestWeights(digest=self.digest, epoch=epoch, model=weights))

    def best(self) -> BestWeights:
        """What `save_best` wrote last.

        Raises:
            TrainingStateError: it is gone, or damaged.
        """
        return self._load(self.folder / BEST, BestWeights)

    def _load(self, path: Path, kind: type[S]) -> S:
        """The file, refused if it is of another training."""
        saved = load_checkpoint(path, kind)
        if saved.digest != self.digest:
            raise TrainingStateError(
                f"{path} is the state of another training ({saved.digest[:12]}) than this one"
                f" ({self.digest[:12]}): another backbone, recipe, data set or seed; {kind.remedy}"
            )
        return saved
