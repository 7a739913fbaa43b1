"""The whole state of a run on disk: written whole or not at all, read without running anything in it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tvts_bench.training.states import TrainingStateError, read_safely, write_whole

FORMAT = 1
LAST, BEST = "last.pt", "best.pt"


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """All that a run is continued from. No random state is among it: see `pretrain.step`."""

    step: int  # optimiser steps done, and so the position in the data
    model: dict[str, Any]
    optimizer: dict[str, Any]
    digest: str  # the lineage of the run's configuration
    world_size: int  # of the run that wrote it
    best: float | None = None  # the best held-out measure so far, where one is followed
    measured: dict[str, float] | None = None  # held-out measures at the last validation
    alike: int = 0  # steps in a row with collapsed embeddings
    counts: dict[str, int] = field(default_factory=dict)  # what happened to samples so far, on all ranks
    sizes: list[int] = field(default_factory=list)  # samples of each source: of others, the order is another


def checkpoint_folder(run: Path) -> Path:
    """Where a run's states are."""
    return run / "checkpoints"


def save_state(path: Path, state: State) -> None:
    """Write `state`; a file that is there stays until the new one is complete on disk.

    Raises:
        TrainingStateError: it cannot be written, with the system's reason.
    """
    write_whole(path, {"format": FORMAT, **{name: getattr(state, name) for name in State.__dataclass_fields__}})


def load_state(path: Path) -> State:
    """What `save_state` wrote, on the CPU.

    Raises:
        TrainingStateError: missing, damaged, or another kind of file.
    """
    content = read_safely(path, f"take {BEST} beside it or a copy in its place, or begin a new run")
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise TrainingStateError(f"{path} is not a state that this version of tvts-pretrain wrote")
    try:
        return State(**content)
    except TypeError as error:
        raise TrainingStateError(f"{path} is not a state that this version of tvts-pretrain wrote ({error})") from None
