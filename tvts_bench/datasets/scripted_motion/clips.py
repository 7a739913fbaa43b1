"""One labelled clip: what is in it (drawn from the seed and its name) and its frames."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tvts_bench.datasets.scripted_motion import sprites
from tvts_bench.datasets.scripted_motion.draws import Draws
from tvts_bench.datasets.scripted_motion.motions import TURN, Step, path
from tvts_bench.datasets.scripted_motion.render import Appearance, render
from tvts_bench.datasets.scripted_motion.world import World

SHAPES = ((36, 40), (36, 44), (40, 40), (40, 36))
"""Heights and widths of frames: even, as the codecs need, and nearly square, so that a centre crop loses little."""

_DRIFT = 50  # thousandths of a circle a second, at most, on each circle: a ninth of an action's speed
_TINT = 16  # grey levels that a ground's colour varies by
_SHADE = 20  # grey levels that a sprite's colour varies by


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What is fixed about a clip; all else is drawn from the world's seed."""

    path: str  # relative to the layout's folder; also the name its motion is drawn by
    label: str
    actions: tuple[str, ...]  # performed one after the other
    held_out: bool = False  # handwritings that training parts never show
    digit: int | None = None  # None: any
    ground: str | None = None  # None: any
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
    """A random digit, colour and ground, as far as they are not given."""
    digit = draws.below(10) if digit is None else digit
    colour = draws.choice(tuple(sprites.COLOURS))
    shade = draws.between(-_SHADE, _SHADE)
    red, green, blue = (min(max(level + shade, 0), 255) for level in sprites.COLOURS[colour])
    look = Appearance(
        image=draws.choice(sprites.handwritings(digit, held_out)),
        colour=(red, green, blue),
        ground=draws.choice(tuple(sprites.GROUNDS)) if ground is None else ground,
        ground_shift=(draws.below(32), draws.below(32)),
        tint=(draws.between(-_TINT, _TINT), draws.between(-_TINT, _TINT), draws.between(-_TINT, _TINT)),
        specks=tuple((draws.below(40), draws.below(44), draws.between(60, 160)) for _ in range(draws.below(4))),
    )
    return Subject(digit=digit, colour=colour, look=look)


def draw_start(draws: Draws) -> tuple[int, int, int, int]:
    """A state uniform over the torus: the reason why no single frame tells the class."""
    return (draws.below(TURN), draws.below(TURN), draws.below(TURN), draws.below(TURN))


def draw_drift(draws: Draws, fps: int, drift: int = _DRIFT) -> tuple[int, int, int, int]:
    """A slow motion of up to `drift` thousandths of a circle a second on all circles, in units of TURN a frame."""
    most = drift * TURN // (1000 * fps)
    return (draws.between(-most, most), draws.between(-most, most), draws.between(-most, most),
            draws.between(-most, most))  # fmt: skip


def take(world: World, clip: Clip) -> Take:
    """The clip as drawn from the world's seed: the same on every machine."""
    draws = Draws(world.seed, clip.source or clip.path)
    subject = draw_subject(draws, held_out=clip.held_out, digit=clip.digit, ground=clip.ground)
    shape = draws.choice(SHAPES)
    frames = draws.between(world.clip_shortest, world.clip_longest) * world.fps // 1000
    speed = draws.between(world.clip_slowest, world.clip_fastest) * TURN // (1000 * world.fps)
    start, drift = draw_start(draws), draw_drift(draws, world.fps)
    cuts = [frames]
    if len(clip.actions) == 2:
        first = frames * draws.between(450, 550) // 1000
        cuts = [first, frames - first]
    steps = tuple(
        Step(action=action, frames=count, speed=speed, drift=drift)
        for action, count in zip(clip.actions, cuts, strict=True)
    )
    found = Take(subject=subject, shape=shape, start=start, steps=steps)
    return found if clip.source is None else _near_duplicate(found, Draws(world.seed, clip.path))


def _near_duplicate(original: Take, draws: Draws) -> Take:
    """The same source filmed once more: a slightly other start and speed, nothing else."""
    near = TURN // 32
    x, y, angle, size = ((value + draws.between(-near, near)) % TURN for value in original.start)
    pace = draws.between(92, 108)
    steps = tuple(replace(step, speed=step.speed * pace // 100) for step in original.steps)
    return replace(original, start=(x, y, angle, size), steps=steps)
