"""Which of the networks in a training checkpoint is taken: weights and their running averages lie side by side."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from tvts_bench.models.unpickling import CheckpointError, described

CONTAINER_KEYS = (
    *("state_dict", "model_state", "module", "model"),
    *("teacher", "target_encoder", "ema_encoder", "encoder"),  # averaged networks before those they average
)
"""Where training code keeps the weights among the other things it saves; the first that is there is taken."""
EMA = "ema"
"""What is asked for to get a checkpoint's averaged weights, whatever their key."""
# Keys of averaged weights: timm's state_dict_ema, VideoMAE's and torchvision's model_ema, DINO's teacher, ...
AVERAGED = re.compile(r"(?:^|[_.])(?:ema|swa|avg|averaged?|teacher|target_encoder)(?:$|[_.])")
AVERAGE_COUNTS = ("n_averaged",)  # what torch's AveragedModel keeps beside the weights


class Choice(NamedTuple):
    """The weights taken from a checkpoint, and what lies beside them."""

    held: Mapping[object, object]  # tensors by name, and perhaps other things
    container: str | None  # their key; None where they lay bare
    beside: tuple[str, ...]  # other keys that hold tensors
    part: str | None = None  # `container`, where it is not the one that is taken by default
    notes: tuple[str, ...] = ()  # what every result should say of the choice


def choose(path: Path, content: Mapping[Any, object], weights: str | None = None) -> Choice:
    """The weights in a checkpoint that are asked for, or those of the first of `CONTAINER_KEYS` that is there.

    Args:
        path: the file, for messages.
        content: what it holds.
        weights: "ema" for the averaged weights under whichever key, or the key itself; None for the usual ones.

    Raises:
        CheckpointError: there are no such weights; the message says which there are.
    """
    holders = [str(key) for key, value in content.items() if isinstance(value, Mapping) and _tensors_in(value)]
    averaged = [key for key in holders if AVERAGED.search(key)]
    default = next((key for key in CONTAINER_KEYS if key in holders), None)
    if default is None and len(averaged) == 1 and not _holds_tensors(content):
        default = averaged[0]
    container = default
    if weights is not None:
        container = averaged[0] if weights == EMA and averaged else weights
        if container not in holders:
            raise CheckpointError(_missing(path, content, weights, holders))
    taken = content if container is None else content[container]
    assert isinstance(taken, Mapping)
    if container is not None and AVERAGED.search(container):
        taken = {key: value for key, value in _innermost(taken).items() if key not in AVERAGE_COUNTS}
    left = [key for key in averaged if key != container]
    note = (
        f"{path.name} holds averaged weights under {' and '.join(map(repr, left))}; those"
        f" {f'under {container!r}' if container else 'beside them'} were taken (--weights ema takes the averaged ones)"
    )
    return Choice(
        held=taken,
        container=container,
        beside=tuple(key for key in holders if key != container),
        part=container if container != default else None,
        notes=(note,) if left and weights is None and not (container and AVERAGED.search(container)) else (),
    )


def refuse_choice(path: Path, weights: str | None) -> None:
    """Nothing where no choice was asked for of a file that holds the weights of one network alone.

    Raises:
        CheckpointError: one was.
    """
    if weights is not None:
        raise CheckpointError(f"{path} holds one set of weights, so there is no {weights!r}: leave out --weights")


def _missing(path: Path, content: Mapping[Any, object], weights: str, holders: list[str]) -> str:
    """Why `weights` cannot be taken."""
    there = f"weights are under {', '.join(map(repr, holders))}" if holders else "it holds one set of weights"
    there = f"{there}; leave out --weights for the usual ones"
    unreadable = [key for key in content if key == weights or (weights == EMA and AVERAGED.search(str(key)))]
    if unreadable:
        key = unreadable[0]
        return f"{path} holds {described(content[key])} under {key!r}, not a dictionary of tensors; {there}"
    return f"{path} has no {'averaged weights' if weights == EMA else f'weights under {weights!r}'}; {there}"


def _innermost(held: Mapping[Any, object]) -> Mapping[Any, object]:
    """The weights themselves where an average keeps them one level down, beside its decay."""
    inner = (held.get(key) for key in (*CONTAINER_KEYS, "shadow"))
    return next((each for each in inner if isinstance(each, Mapping) and _holds_tensors(each)), held)


def _tensors_in(value: Mapping[Any, object]) -> bool:
    return _holds_tensors(_innermost(value))


def _holds_tensors(value: Mapping[Any, object]) -> bool:
    return any(isinstance(each, Tensor) for each in value.values())
