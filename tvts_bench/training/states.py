"""The whole state of a supervised training on disk: written whole or not at all, read without running anything in it.

FOLDER/last.pt   all that it is continued from; FOLDER/best.pt the weights of the epoch that was best so far
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tvts_bench.atomic import sync_folder
from tvts_bench.errors import UserError
from tvts_bench.models.saving import save_pickled

FORMAT = 2
LAST, BEST = "last.pt", "best.pt"


class TrainingStateError(UserError):
    """A state that cannot be written, read, or continued with what was asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BestWeights:
    """The weights that are tested in the end, and when they were reached."""

    digest: str  # of the training, as in `TrainingState`
    epoch: int  # epochs done then
    model: dict[str, Any]  # of what is trained, averaged where the recipe says so


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingState:
    """All that a training is continued from. No random state is among it: every draw is made from (seed, step)."""

    digest: str  # of everything that can change the weights: recipe, seed, data, backbone
    step: int  # optimiser steps done, and so the position in the data
    steps: int  # of the whole training
    model: dict[str, Any]  # of what is trained
    optimizer: dict[str, Any]
    average: dict[str, Any] | None  # moving average of the weights, where one is kept
    loss_sum: float  # over the steps of the unfinished epoch
    history: list[dict[str, float]] = field(default_factory=list)  # one record an epoch
    failed: dict[str, str] = field(default_factory=dict)  # training clips that could not be read: id -> reason
    transient: list[str] = field(default_factory=list)  # ids of clips whose failure may be of the moment
    processes: list[int] = field(default_factory=lambda: [1])  # how many there were, and again whenever that changed
    files: str = '{"signatures": {}, "contents": {}}'  # what it has read so far: `FilesRead.text`


def save_state(path: Path, state: TrainingState | BestWeights) -> None:
    """Write `state`; a file that is there stays until the new one is complete on disk.

    Raises:
        TrainingStateError: it cannot be written, with the system's reason.
    """
    content = {name: getattr(state, name) for name in state.__dataclass_fields__}
    write_whole(path, {"format": FORMAT, "kind": type(state).__name__, **content})


def load_state(path: Path, digest: str) -> TrainingState:
    """The state that `save_state` wrote for the training `digest`, on the CPU.

    Raises:
        TrainingStateError: missing, damaged, another kind of file, or the state of another training.
    """
    return TrainingState(**_read(path, TrainingState.__name__, digest))


def load_best(path: Path, digest: str) -> BestWeights:
    """As `load_state`, of the best weights."""
    return BestWeights(**_read(path, BestWeights.__name__, digest))


def write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values; a file that is there stays until the new one is complete on disk.

    Raises:
        TrainingStateError: it cannot be written, with the system's reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_pickled(path, content)
        sync_folder(path.parent)
    except OSError as error:
        kept = f"; the state saved before stays in {path}" if path.is_file() else ""
        raise TrainingStateError(f"cannot write {path}: {error.strerror}{kept}") from error


def read_safely(path: Path, way_out: str) -> Any:
    """What `write_whole` wrote, on the CPU; nothing in the file is run. `way_out` ends the message of a damaged one.

    Raises:
        TrainingStateError: missing, damaged, or another kind of file.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingStateError(f"there is no state {path}; {way_out}") from None
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for files that are not its own
        # Not what torch says: it advises to switch off what keeps a file from running code.
        problem = f"is not a readable state of a training: damaged or another kind of file ({type(error).__name__})"
        raise TrainingStateError(f"{path} {problem}; {way_out}") from None


def _read(path: Path, kind: str, digest: str) -> dict[str, Any]:
    way_out = "give another --out, or begin anew without --resume once it is moved away"
    content = read_safely(path, way_out)
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT or content.pop("kind", None) != kind:
        raise TrainingStateError(f"{path} is not a state that this version of tvts-bench wrote; {way_out}")
    if content.get("digest") != digest:
        raise TrainingStateError(
            f"{path} is the state of another training ({str(content.get('digest'))[:12]}) than the one asked for"
            f" ({digest[:12]}): another backbone, recipe, data set or seed; {way_out}"
        )
    return content
