"""The pure half of ScriptedMotion: draws, motions, frames, what a frame gives away, and the configuration."""

import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tvts_bench.datasets.base import DatasetError
from tvts_bench.datasets.scripted_motion import layouts
from tvts_bench.datasets.scripted_motion.clips import Draws, LabelledClass, ScriptedClip, take
from tvts_bench.datasets.scripted_motion.layouts import LAYOUTS
from tvts_bench.datasets.scripted_motion.parts import FORMATS, encode, frame_digest
from tvts_bench.datasets.scripted_motion.render import (
    ACTIONS,
    ANGLE,
    SIZE,
    TURN,
    Appearance,
    Step,
    X,
    Y,
    handwritings,
    path,
    render,
)
from tvts_bench.datasets.scripted_motion.world import World

WORLD = World(seed=3)
# sha256 of what is made with WORLD; a change needs a new GENERATOR_VERSION
LABELLED = "6617939ac53b3f55602bc1f7dbfaea1eb05dbb2b943aa7157337ec20934a267a"
STEADY = Appearance(image=0, colour=(250, 250, 250), ground="slate", ground_shift=(0, 0), tint=(0, 0, 0))


def clip(name: str, *actions: str) -> ScriptedClip:
    return ScriptedClip(path=f"{name}.webm", kind=LabelledClass(name="-", actions=actions))


def centre_of_mass(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Row and column of what is brighter than the ground. [T, 2]."""
    mass = frames[..., 0].astype(float) - frames[..., 0].min()
    rows, columns = np.indices(mass.shape[1:])
    return np.stack([(mass * grid).sum((1, 2)) / mass.sum((1, 2)) for grid in (rows, columns)], axis=1)


# Draws


def test_draws_are_the_documented_stream() -> None:
    """The raw stream of PCG64 is promised by NumPy; the values below are it, scaled to the bound."""
    words = np.frombuffer(hashlib.sha256(b"7\0name").digest(), "<u4")
    raw = np.random.PCG64(np.random.SeedSequence([int(word) for word in words])).random_raw(3)
    draws = Draws(7, "name")
    assert [draws.below(1000) for _ in range(3)] == [(int(value) >> 32) * 1000 >> 32 for value in raw]


@settings(deadline=None)
@given(st.integers(0, 2**40), st.text(max_size=20), st.integers(1, 10**6))
def test_draws_stay_within_their_bounds(seed: int, name: str, bound: int) -> None:
    draws = Draws(seed, name)
    assert all(0 <= draws.below(bound) < bound for _ in range(20))
    assert all(-bound <= draws.between(-bound, bound) <= bound for _ in range(20))
    assert sorted(draws.shuffled(range(20))) == list(range(20))


# Motions


def test_a_path_starts_at_its_start_and_wraps() -> None:
    states = path((0, 10, 20, TURN - 100), [Step(action="grow", frames=3, speed=60)])
    assert states.tolist() == [[0, 10, 20, TURN - 100], [0, 10, 20, TURN - 40], [0, 10, 20, 20]]


@settings(deadline=None)
@given(st.sampled_from(layouts.PAIRS), st.integers(2, 30), st.integers(1, 4000))
def test_an_ordered_pair_and_its_reverse_differ_only_in_order(pair: tuple[str, str], frames: int, speed: int) -> None:
    first, second = (Step(action=action, frames=frames, speed=speed) for action in pair)
    start = (5, 6, 7, 8)
    ahead, behind = path(start, [first, second]), path(start, [second, first])
    # The same steps in another order lead to the same place, and each step from frame to frame occurs as often.
    end = [Step(action=pair[0], frames=1, speed=0)]
    assert (path(start, [first, second, *end])[-1] == path(start, [second, first, *end])[-1]).all()
    moved = [np.diff(states, axis=0) % TURN for states in (ahead, behind)]
    assert Counter(map(tuple, moved[0]))[tuple(moved[1][-1])] == frames
    assert not (ahead == behind).all()


def test_pairs_come_in_both_orders_and_use_every_action_equally() -> None:
    assert {pair[::-1] for pair in layouts.PAIRS} == set(layouts.PAIRS)
    assert set(Counter(action for pair in layouts.PAIRS for action in pair).values()) == {4}
    assert len({kind.name for kind in layouts.SSV2}) == len(layouts.SSV2) == 24


# Frames


@pytest.mark.parametrize(("action", "axis", "sign"), [("left", 1, -1), ("right", 1, 1), ("up", 0, -1), ("down", 0, 1)])
def test_translations_go_where_they_say(action: str, axis: int, sign: int) -> None:
    states = path((TURN // 2, TURN // 2, 0, 0), [Step(action=action, frames=6, speed=TURN // 40)])
    moved = np.diff(centre_of_mass(render(STEADY, states, 40, 40)), axis=0)
    assert moved[:, axis] * sign == pytest.approx(np.ones(5), abs=0.15)  # 40 pixels: one pixel a frame
    assert np.abs(moved[:, 1 - axis]).max() < 0.1


def test_turning_clockwise_by_a_quarter_is_numpys_rotation() -> None:
    states = path((TURN // 2, TURN // 2, 0, TURN - 1), [Step(action="clockwise", frames=2, speed=TURN // 4)])
    seven = replace(STEADY, image=handwritings(7, False)[0])
    upright, turned = render(seven, states, 40, 40)[..., 0].astype(int)
    assert 5 * np.abs(np.rot90(upright, -1) - turned).mean() < np.abs(np.rot90(upright, 1) - turned).mean()


def test_growing_covers_more_and_shrinking_less() -> None:
    steps = [Step(action=action, frames=5, speed=TURN // 12) for action in ("grow", "shrink")]
    frames = render(STEADY, path((TURN // 2, TURN // 2, 0, 0), steps), 40, 40)
    covered = (frames[..., 0] > 150).sum((1, 2))
    assert (np.diff(covered)[:5] > 0).all()
    assert (np.diff(covered)[5:] < 0).all()


def test_a_sprite_that_leaves_at_one_edge_enters_at_the_other() -> None:
    frames = render(STEADY, np.array([[TURN // 2, TURN // 2, 0, 0], [0, TURN // 2, 0, 0]]), 40, 40)
    assert (np.roll(frames[0], 20, axis=1) == frames[1]).all()


def test_frames_do_not_drift() -> None:
    """Golden: these frames must be the same on every machine; a change here needs a new GENERATOR_VERSION."""
    kinds = [clip("a", "left"), clip("b", "up", "grow"), clip("c", "clockwise"), clip("d", "shrink", "down")]
    shown = "".join(frame_digest(kind.path, take(WORLD, kind).frames()) for kind in kinds)
    assert hashlib.sha256(shown.encode()).hexdigest() == LABELLED


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(list(LAYOUTS)), st.integers(0, 100))
def test_every_clip_has_even_frames_and_a_sensible_length(part: str, index: int) -> None:
    made = take(WORLD, LAYOUTS[part].clips(WORLD)[index]).frames()
    assert made.dtype == np.uint8
    assert made.shape[1] % 2 == made.shape[2] % 2 == 0
    assert 2.1 <= len(made) / WORLD.fps <= 2.8


def test_clips_of_one_source_look_alike_and_are_not_identical() -> None:
    one, two = (
        take(WORLD, ScriptedClip(path=f"{n}.avi", kind=LabelledClass(name="-", actions=("up",)), source="s"))
        for n in "ab"
    )
    assert one.subject == two.subject
    assert one.shape == two.shape
    assert one.start != two.start
    near = (np.array(one.start) - np.array(two.start) + TURN // 2) % TURN - TURN // 2
    assert np.abs(near).max() <= TURN // 16


def test_evaluation_shows_handwritings_that_training_never_does() -> None:
    for digit in range(10):
        assert not set(handwritings(digit, True)) & set(handwritings(digit, False))


# What a single frame gives away


def coarse(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Where something bright is: 36 cells of a centre crop, with their vertical and horizontal detail."""
    grey = frame.astype(float).mean(-1)[:36, :36]
    grey = grey - np.median(grey)
    cells = np.stack([grey, np.abs(np.gradient(grey, axis=0)), np.abs(np.gradient(grey, axis=1))])
    pooled: NDArray[np.float64] = cells.reshape(3, 6, 6, 6, 6).mean((2, 4)).ravel()
    return pooled


def motion_energy(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How brightness changes along the gradients: along columns, rows, around the sprite, away from it."""
    grey = frames[:12].astype(np.float32).mean(-1)
    change = np.diff(grey, axis=0)
    down, right = np.gradient(grey, axis=(1, 2))
    down, right = (down[1:] + down[:-1]) / 2, (right[1:] + right[:-1]) / 2
    mass = np.abs(grey - np.median(grey))[1:]
    rows, columns = np.indices(grey.shape[1:])
    total = mass.sum((1, 2), keepdims=True)
    y = rows - (mass * rows).sum((1, 2), keepdims=True) / total
    x = columns - (mass * columns).sum((1, 2), keepdims=True) / total
    directions = (right, down, x * down - y * right, x * right + y * down)
    return np.array([np.median((change * along).sum((1, 2)) / (along**2).sum((1, 2))) for along in directions])


def test_a_single_frame_does_not_give_the_action_away_but_motion_does() -> None:
    names = list(ACTIONS)
    films = [take(WORLD, clip(f"leak{index}", names[index % 8])).frames() for index in range(480)]
    truth = np.arange(480) % 8
    train, test = slice(0, 240), slice(240, 480)

    def accuracy(features: NDArray[np.float64]) -> float:
        scaled = StandardScaler().fit(features[train]).transform(features)
        classifier = LogisticRegression(C=0.1, max_iter=50, tol=1e-2).fit(scaled[train], truth[train])
        return float(classifier.score(scaled[test], truth[test]))

    # Chance is 12.5 %, its standard error over 240 clips 2.1 points.
    for position in (0, 0.5, 0.999):
        assert accuracy(np.array([coarse(film[int(position * len(film))]) for film in films])) < 0.20
    assert accuracy(np.array([motion_energy(film) for film in films])) > 0.50


@pytest.mark.parametrize("position", [0.0, 0.5, 0.999])
def test_every_single_state_is_uniform_for_every_class(position: float) -> None:
    """Quarters of each circle are equally likely at the start, the middle and the end, whatever the class."""
    for number, kind in enumerate(layouts.SSV2):
        states = []
        for index in range(200):
            taken = take(WORLD, clip(f"state{number}-{index}", *kind.actions))
            states.append(path(taken.start, taken.steps)[int(position * sum(step.frames for step in taken.steps))])
        quarters = np.array(states) * 4 // TURN
        for circle in (X, Y, ANGLE, SIZE):
            counts = np.bincount(quarters[:, circle], minlength=4)
            # chi-square with 3 degrees of freedom: 25 is passed by chance once in 60,000 times
            assert ((counts - 50) ** 2 / 50).sum() < 25


# Configuration


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [("fps", 0, "fps"), ("seed", -1, "seed"), ("topic_share", 101, "percentage from 0 to 100, got 101"),
     ("chatter_share", -1, "chatter_share is a percentage from 0 to 100, got -1"),
     ("undone_share", 120, "undone_share is a percentage from 0 to 100, got 120"), ("ucf_groups", 3, "ucf_groups"),
     ("clip_slowest", 600, "600"), ("hmdb_clips", 2, "hmdb_clips")],
)  # fmt: skip
def test_nonsense_is_refused_with_the_value(field: str, value: int, named: str) -> None:
    with pytest.raises(DatasetError, match=named):
        World(**{field: value})


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_a_clip_is_the_same_bytes_each_time_it_is_encoded(suffix: str) -> None:
    """Also where an encoder looks past the edge of frames this small: a file made again is no other file."""
    for item in LAYOUTS["k400-val"].clips(WORLD)[:16]:
        frames = take(WORLD, item).frames()
        assert len({encode(frames, WORLD.fps, suffix) for _ in range(4)}) == 1
