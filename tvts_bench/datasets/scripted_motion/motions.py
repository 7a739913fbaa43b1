"""Eight actions, and where a sprite is at every frame while it performs them. Integer arithmetic only.

The state of a sprite is a point on a torus: four circles (x, y, angle, log-size), each in units of 1/65536 of a turn.
An action moves along one circle in one direction, so a start drawn uniformly makes *every single frame* uniform over
all states whatever the action: what happens can be seen in the order of frames and in nothing else. Reversing time
swaps left and right, up and down, the two turns, grow and shrink.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TURN = 1 << 16
"""Units of one circle: the width, the height, a full rotation, or the ratio of largest to smallest size."""

X, Y, ANGLE, SIZE = range(4)

ACTIONS: dict[str, tuple[int, int]] = {
    "left": (X, -1),
    "right": (X, 1),
    "up": (Y, -1),
    "down": (Y, 1),
    "clockwise": (ANGLE, 1),
    "anticlockwise": (ANGLE, -1),
    "grow": (SIZE, 1),
    "shrink": (SIZE, -1),
}
"""Name -> circle and direction (y points down, so a positive angle turns clockwise on the screen)."""

OPPOSITES: dict[str, str] = {
    name: next(other for other, way in ACTIONS.items() if way == (circle, -sign))
    for name, (circle, sign) in ACTIONS.items()
}
"""Name -> the action that undoes it."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One action for some frames."""

    action: str  # a key of ACTIONS
    frames: int
    speed: int  # units of TURN a frame along the action's circle
    drift: tuple[int, int, int, int] = (0, 0, 0, 0)  # units of TURN a frame added on all circles: imperfect motion


def path(start: tuple[int, int, int, int], steps: Sequence[Step]) -> NDArray[np.int64]:
    """States of a sprite that starts at `start` and performs `steps` one after the other.

    Returns:
        int64 [frames, 4]: x, y, angle, log-size, each in [0, TURN). Frame 0 is `start`.
    """
    velocities = []
    for step in steps:
        velocity = np.array(step.drift, np.int64)
        circle, sign = ACTIONS[step.action]
        velocity[circle] += sign * step.speed
        velocities.append(np.repeat(velocity[None], step.frames, axis=0))
    moved = np.cumsum(np.concatenate(velocities), axis=0)
    states = np.concatenate([np.zeros((1, 4), np.int64), moved[:-1]]) + np.array(start, np.int64)
    return states % TURN
