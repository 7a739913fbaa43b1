"""The whole state of a run on disk: written whole or not at all, read without running anything in it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tvts_bench.atomic import whole_file
from tvts_bench.errors import UserError

FORMAT = 1
LAST, BEST = "last.pt", "best.pt"


class RunCheckpointError(UserError):
    """A state that cannot be written or read."""


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """All that a run is continued from. No random state is among it: see `pretrain.step`."""

    step: int  # optimiser steps done, and so the position in the data
    model: dict[str, Any]
    optimizer: dict[str, Any]
    digest: str  # of the run's configuration
    world_size: int  # of the run that wrote it
    best: float | None = None  # the best held-out measure so far, where one is followed
    measured: dict[str, float] | None = None  # held-out measures at the last validation
    alike: int = 0  # steps in a row with collapsed embeddings


def checkpoint_folder(run: Path) -> Path:
    """Where a run's states are."""
    return run / "checkpoints"


def save_state(path: Path, state: State) -> None:
    """Write `state`; a file that is there stays until the new one is complete on disk.

    Raises:
        RunCheckpointError: it cannot be written, with the system's reason.
    """
    content = {"format": FORMAT, **{name: getattr(state, name) for name in State.__dataclass_fields__}}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            torch.save(content, file)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        kept = f"; the state saved before stays in {path}" if path.is_file() else ""
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise RunCheckpointError(f"cannot write {path}: {reason}{kept}") from error


def load_state(path: Path) -> State:
    """What `save_state` wrote, on the CPU.

    Raises:
        RunCheckpointError: missing, damaged, or another kind of file.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunCheckpointError(f"there is no state {path}") from None
    except Exception as error:  # noqa: BLE001 - torch raises many kinds for files that are not its own
        raise RunCheckpointError(f"{path} is not a readable state of a run ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise RunCheckpointError(f"{path} is not a state that this version of tvts-pretrain wrote")
    try:
        return State(**content)
    except TypeError as error:
        raise RunCheckpointError(f"{path} is not a state that this version of tvts-pretrain wrote ({error})") from None


def _sync_folder(folder: Path) -> None:
    """Make the renaming last, too, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
