"""What the seed decides: random draws that are the same everywhere, and with them what is in one labelled clip."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tvts_bench.datasets.scripted_motion.render import (
    COLOURS,
    GROUNDS,
    TURN,
    Appearance,
    Step,
    handwritings,
    path,
    render,
)
from tvts_bench.datasets.scripted_motion.world import World

T = TypeVar("T")

SHAPES = ((36, 40), (36, 44), (40, 40), (40, 36))
"""Heights and widths of frames: even, as the codecs need, and nearly square, so that a centre crop loses little."""

_DRIFT = 50  # thousandths of a circle a second, at most, on each circle: a ninth of an action's speed
_TINT = 16  # grey levels that a ground's colour varies by
_SHADE = 20  # grey levels that a sprite's colour varies by


class Draws:
    """Integers from the raw 64-bit stream of PCG64, seeded by a number and a name.

    NumPy promises the raw stream of a bit generator for ever, but not how `Generator.integers` or `random` use it.
    """

    def __init__(self, seed: int, name: str) -> None:
        words = np.frombuffer(hashlib.sha256(f"{seed}\0{name}".encode()).digest(), "<u4")
        self._bits = np.random.PCG64(np.random.SeedSequence([int(word) for word in words]))

    def below(self, bound: int) -> int:
        """One integer in [0, bound)."""
        return (int(self._bits.random_raw()) >> 32) * bound >> 32

    def between(self, low: int, high: int) -> int:
        """One integer in [low, high], both ends included."""
        return low + self.below(high - low + 1)

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """`items` in random order (Fisher-Yates)."""
        order = list(items)
        for last in range(len(order) - 1, 0, -1):
            other = self.below(last + 1)
            order[last], order[other] = order[other], order[last]
        return order


@dataclass(frozen=True, kw_only=True)
class LabelledClass:
    """A class: its name in the lists, what happens, and what is seen where that is part of the class."""

    name: str
    actions: tuple[str, ...]  # performed one after the other
    digit: int | None = None  # None: any
    ground: str | None = None  # None: any


@dataclass(frozen=True, kw_only=True)
class ScriptedClip:
    """What is fixed about a clip; all else is drawn from the world's seed."""

    path: str  # relative to the layout's folder; also the name its motion is drawn by
    kind: LabelledClass
    held_out: bool = False  # handwritings that training parts never show
    source: str | None = None  # clips of one source share appearance, frame size and, nearly, the motion


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is seen, in words and in pixels."""

    digit: int
    colour: str
    look: Appearance


@dataclass(frozen=True, kw_only=True)
class Take:
    """A clip ready to be rendered."""

    subject: Subject
    shape: tuple[int, int]
    start: tuple[int, int, int, int]
    steps: tuple[Step, ...]

    def frames(self) -> NDArray[np.uint8]:
        """uint8 RGB [T, H, W, 3]."""
        return render(self.subject.look, path(self.start, self.steps), *self.shape)


def draw_subject(draws: Draws, *, held_out: bool, digit: int | None, ground: str | None) -> Subject:
    """A random digit, colour and ground, as far as they are not given.

    Args:
        draws: random numbers.
        held_out: whether of the handwritings that training parts never show.
        digit: from 0 to 9; None for any.
        ground: a key of GROUNDS; None for any.
    """
    digit = draws.below(10) if digit is None else digit
    colour = draws.choice(tuple(COLOURS))
    shade = draws.between(-_SHADE, _SHADE)
    red, green, blue = (min(max(level + shade, 0), 255) for level in COLOURS[colour])
    look = Appearance(
        image=draws.choice(handwritings(digit, held_out)),
        colour=(red, green, blue),
        ground=draws.choice(tuple(GROUNDS)) if ground is None else ground,
        ground_shift=(draws.below(32), draws.below(32)),
        tint=(draws.between(-_TINT, _TINT), draws.between(-_TINT, _TINT), draws.between(-_TINT, _TINT)),
        specks=tuple((draws.below(40), draws.below(44), draws.between(60, 160)) for _ in range(draws.below(4))),
    )
    return Subject(digit=digit, colour=colour, look=look)


def draw_start(draws: Draws) -> tuple[int, int, int, int]:
    """A state uniform over the torus: the reason why no single frame tells the class."""
    x, y, angle, size = (draws.below(TURN) for _ in range(4))
    return x, y, angle, size


def draw_drift(draws: Draws, fps: int, drift: int = _DRIFT) -> tuple[int, int, int, int]:
    """A slow motion on all circles, in units of TURN a frame.

    Args:
        draws: random numbers.
        fps: frames a second.
        drift: thousandths of a circle a second, at most.
    """
    most = drift * TURN // (1000 * fps)
    x, y, angle, size = (draws.between(-most, most) for _ in range(4))
    return x, y, angle, size


def take(world: World, clip: ScriptedClip) -> Take:
    """The clip as drawn from the world's seed: the same on every machine."""
    draws = Draws(world.seed, clip.source or clip.path)
    subject = draw_subject(draws, held_out=clip.held_out, digit=clip.kind.digit, ground=clip.kind.ground)
    shape = draws.choice(SHAPES)
    frames = draws.between(world.clip_shortest, world.clip_longest) * world.fps // 1000
    speed = draws.between(world.clip_slowest, world.clip_fastest) * TURN // (1000 * world.fps)
    start, drift = draw_start(draws), draw_drift(draws, world.fps)
    cuts = [frames]
    if len(clip.kind.actions) == 2:
        first = frames * draws.between(450, 550) // 1000
        cuts = [first, frames - first]
    steps = tuple(
        Step(action=action, frames=count, speed=speed, drift=drift)
        for action, count in zip(clip.kind.actions, cuts, strict=True)
    )
    original = Take(subject=subject, shape=shape, start=start, steps=steps)
    return original if clip.source is None else _near_duplicate(original, Draws(world.seed, clip.path))


def _near_duplicate(original: Take, draws: Draws) -> Take:
    """The same source filmed once more: a slightly other start and speed, nothing else."""
    near = TURN // 32
    x, y, angle, size = ((value + draws.between(-near, near)) % TURN for value in original.start)
    pace = draws.between(92, 108)
    steps = tuple(replace(step, speed=step.speed * pace // 100) for step in original.steps)
    return replace(original, start=(x, y, angle, size), steps=steps)
