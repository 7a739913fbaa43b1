"""The classes of the four labelled layouts, named in each data set's own style."""

from dataclasses import dataclass

from tvts_bench.datasets.scripted_motion.sprites import DIGIT_WORDS

_RING = ("left", "clockwise", "up", "grow", "right", "anticlockwise", "down", "shrink")

PAIRS: tuple[tuple[str, str], ...] = tuple(
    pair
    for first, second in zip(_RING, _RING[1:] + _RING[:1], strict=True)
    for pair in ((first, second), (second, first))
)
"""Ordered pairs. Neighbours on a ring, so every action is in two of them; A-then-B and B-then-A are two classes."""


@dataclass(frozen=True, kw_only=True)
class LabelledClass:
    """A class: its name in the lists, what happens, and what is seen where that is part of the class."""

    name: str
    actions: tuple[str, ...]
    digit: int | None = None
    ground: str | None = None


_OPENING = {
    "left": "Moving [something] to the left",
    "right": "Moving [something] to the right",
    "up": "Moving [something] up",
    "down": "Moving [something] down",
    "clockwise": "Turning [something] clockwise",
    "anticlockwise": "Turning [something] anticlockwise",
    "grow": "Growing [something]",
    "shrink": "Shrinking [something]",
}
_SLIDE = {
    "left": "slide left",
    "right": "slide right",
    "up": "slide up",
    "down": "slide down",
    "clockwise": "turn clockwise",
    "anticlockwise": "turn anticlockwise",
    "grow": "grow",
    "shrink": "shrink",
}
_KINETICS = {"left": "sliding left", "right": "sliding right", "clockwise": "spinning clockwise", "grow": "growing"}
_KINETICS_DIGITS, _KINETICS_GROUNDS = (3, 7), ("grass", "water", "brick")


def template(actions: tuple[str, ...]) -> str:
    """Something-Something's sentence, with its placeholder in brackets."""
    first = _OPENING[actions[0]]
    if len(actions) == 1:
        return first
    then = _OPENING[actions[1]].replace("[something]", "it")
    return f"{first}, then {then[0].lower()}{then[1:]}"


SSV2 = tuple(
    LabelledClass(name=template(actions).replace("[something]", "something"), actions=actions)
    for actions in (*((action,) for action in _OPENING), *PAIRS)
)
"""24 classes that only the motion decides: 8 actions and 16 ordered pairs."""

K400 = tuple(
    LabelledClass(name=f"{DIGIT_WORDS[digit]} {doing} on {ground}", actions=(action,), digit=digit, ground=ground)
    for ground in _KINETICS_GROUNDS
    for digit in _KINETICS_DIGITS
    for action, doing in _KINETICS.items()
)
"""24 classes of digit x ground x action: a frame tells six groups of four apart, motion the rest."""

_SHORT = (*((action,) for action in _SLIDE), *PAIRS[:2], *PAIRS[4:6])


def _short_names(joint: str) -> tuple[LabelledClass, ...]:
    words = [(" ".join(_SLIDE[action] for action in actions).split(), actions) for actions in _SHORT]
    if not joint:
        return tuple(LabelledClass(name="".join(w.capitalize() for w in ws), actions=actions) for ws, actions in words)
    return tuple(LabelledClass(name=joint.join(ws), actions=actions) for ws, actions in words)


UCF101 = tuple(sorted(_short_names(""), key=lambda each: each.name))
"""12 classes: 8 actions and two pairs in both orders, in CamelCase."""

HMDB51 = tuple(sorted(_short_names("_"), key=lambda each: each.name))
"""The same 12, in snake_case."""
