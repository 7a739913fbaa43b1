"""Where a training leaves its state and its best weights, and whether one that is there is continued."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvts_bench.runtime import Progress, silent
from tvts_bench.training.files_read import FilesRead
from tvts_bench.training.states import (
    BEST,
    LAST,
    BestWeights,
    TrainingState,
    TrainingStateError,
    load_best,
    load_state,
    save_state,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingPlace:
    """A training's folder. Changes no number."""

    folder: Path
    digest: str  # of everything that can change the weights; a state of another one is refused
    resume: bool = False
    progress: Progress = silent
    files: FilesRead = field(default_factory=FilesRead)  # of the splits that the weights depend on

    def found(self) -> TrainingState | None:
        """The state to continue from.

        Raises:
            TrainingStateError: there is one, and it was not asked for, or it is not one of this training.
        """
        path = self.folder / LAST
        if not path.exists():
            return None
        state = load_state(path, self.digest)
        if not self.resume:
            raise TrainingStateError(
                f"{self.folder} holds this training at step {state.step} of {state.steps}: add --resume to go on from"
                " there, or give another --out to begin anew"
            )
        return state

    def begin_anew(self) -> None:
        """Set a training that is there aside, and say so; only one process calls this.

        Raises:
            TrainingStateError: the system does not let it be renamed.
        """
        if (self.folder / LAST).exists():
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

    def keep(self, state: TrainingState, *, required: bool) -> None:
        """Write the state; unless `required`, a full disk is only a warning where an earlier state is there.

        Raises:
            TrainingStateError: it cannot be written, and is required or would be the first.
        """
        try:
            save_state(self.folder / LAST, state)
        except TrainingStateError as error:
            if required or not (self.folder / LAST).exists():
                raise
            log.warning("%s; training goes on", error)

    def keep_best(self, epoch: int, weights: dict[str, Any]) -> None:
        """Write the weights of the epoch (counted from 1) that is the best so far.

        Raises:
            TrainingStateError: they cannot be written.
        """
        save_state(self.folder / BEST, BestWeights(digest=self.digest, epoch=epoch, model=weights))

    def best(self) -> BestWeights:
        """What `keep_best` wrote last.

        Raises:
            TrainingStateError: it is gone, or damaged.
        """
        return load_best(self.folder / BEST, self.digest)
