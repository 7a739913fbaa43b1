"""How a narrator talks about what is seen: phrases, fillers, and what speech recognition makes of some words."""

from collections.abc import Mapping
from dataclasses import dataclass

from tvts_bench.datasets.scripted_motion.clips import Subject
from tvts_bench.datasets.scripted_motion.draws import Draws
from tvts_bench.datasets.scripted_motion.sprites import DIGIT_WORDS

ACTIONS: Mapping[str, tuple[str, ...]] = {
    "left": ("slides to the left", "moves left", "drifts left", "goes off to the left", "heads left"),
    "right": ("slides to the right", "moves right", "drifts right", "goes off to the right", "heads right"),
    "up": ("slides up", "moves up", "rises", "goes up", "climbs upwards"),
    "down": ("slides down", "moves down", "sinks", "goes down", "falls downwards"),
    "clockwise": ("turns clockwise", "spins clockwise", "rotates clockwise", "goes round clockwise"),
    "anticlockwise": (
        "turns anticlockwise",
        "spins anticlockwise",
        "rotates anticlockwise",
        "goes round anticlockwise",
    ),
    "grow": ("grows", "gets bigger", "is growing", "swells", "becomes larger"),
    "shrink": ("shrinks", "gets smaller", "is shrinking", "becomes smaller", "dwindles"),
}
"""Each phrase names its action and no other."""

AGAIN: Mapping[str, tuple[str, ...]] = {
    "left": ("still left", "more to the left"),
    "right": ("still right", "more to the right"),
    "up": ("still rising", "further up"),
    "down": ("still sinking", "further down"),
    "clockwise": ("still clockwise", "round clockwise"),
    "anticlockwise": ("still anticlockwise", "round anticlockwise"),
    "grow": ("still growing", "bigger and bigger"),
    "shrink": ("still shrinking", "smaller and smaller"),
}
"""Further mentions, while there is time."""

OPENERS = ("", "", "", "so", "now", "okay", "and", "and then", "look", "well", "you can see how", "watch how")
TOPIC_SUBJECTS = (
    "the {colour} {digit}",
    "this {colour} {digit}",
    "our {digit}",
    "the {digit}",
    "that {colour} thing",
    "the {digit} on the {ground}",
    "this {digit} on {ground}",
)
PLAIN_SUBJECTS = ("it", "it", "this", "this thing", "that", "our little friend")
CLOSERS = ("", "", "", "again", "nicely", "there", "just like that", "you see")
TOPIC_CLOSERS = ("on the {ground}", "over the {ground}", "all {colour}")
FILLERS = ("um", "uh", "like", "you know")

MISHEARD: Mapping[str, str] = {
    "one": "won", "two": "too", "four": "for", "six": "sicks", "eight": "ate", "red": "read", "cyan": "sigh ann",
    "violet": "violent", "grass": "glass", "sand": "send", "slate": "late", "night": "knight", "left": "lift",
    "right": "write", "rises": "rice is", "sinks": "things", "clockwise": "clock wise",
    "anticlockwise": "anti clock wise", "grows": "grow is", "shrinks": "shrink",
}  # fmt: skip
"""A word and what speech recognition writes for it now and then; the cleaned transcript has the word."""

_FILLER_PERCENT, _MISHEARD_PERCENT = 5, 8


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """What is said in one breath."""

    spoken: tuple[str, ...]  # words as speech recognition hears them: lower case, fillers, mistakes
    clean: str  # as written down afterwards: capitals, a full stop, no fillers, no mistakes


def main_sentence(draws: Draws, action: str, subject: Subject, topic_share: int) -> Sentence:
    """A sentence that names the action and, in `topic_share` percent of cases, what is seen."""
    topical = draws.below(100) < topic_share
    parts = (
        draws.choice(OPENERS),
        draws.choice(TOPIC_SUBJECTS if topical else PLAIN_SUBJECTS),
        draws.choice(ACTIONS[action]),
        draws.choice(TOPIC_CLOSERS if topical and draws.below(3) == 0 else CLOSERS),
    )
    return _said(draws, " ".join(parts).format(**_names(subject)))


def short_sentence(draws: Draws, action: str, subject: Subject, topic_share: int) -> Sentence:
    """A further mention of the action, in two to four words, and again often of what is seen."""
    again = draws.choice(AGAIN[action])
    if draws.below(100) < topic_share:
        again = f"{draws.choice(TOPIC_SUBJECTS)} {again}"
    return _said(draws, again.format(**_names(subject)))


def _names(subject: Subject) -> dict[str, str]:
    return {"digit": DIGIT_WORDS[subject.digit], "colour": subject.colour, "ground": subject.look.ground}


def _said(draws: Draws, text: str) -> Sentence:
    spoken: list[str] = []
    for word in text.split():
        if draws.below(100) < _FILLER_PERCENT:
            spoken += draws.choice(FILLERS).split()
        heard = MISHEARD.get(word, word) if draws.below(100) < _MISHEARD_PERCENT else word
        spoken += heard.split()
    clean = " ".join(text.split())
    return Sentence(spoken=tuple(spoken), clean=f"{clean[0].upper()}{clean[1:]}.")
