"""How a narrator talks about what is seen: phrases, chatter, and what speech recognition makes of some words."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tvts_bench.datasets.scripted_motion.clips import Subject
from tvts_bench.datasets.scripted_motion.draws import Draws
from tvts_bench.datasets.scripted_motion.sprites import COLOURS, DIGIT_WORDS, GROUNDS
from tvts_bench.datasets.scripted_motion.world import StoryConfig

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
PLAIN_SUBJECTS = ("it", "this")
CHATTY_SUBJECTS = ("it", "it", "this", "this thing", "that", "our little friend")
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


def main_sentence(draws: Draws, action: str, subject: Subject, stories: StoryConfig) -> Sentence:
    """A sentence that names the action and, as often as `stories` says, what is seen; with chatter or without."""
    is_topical, is_chatty = draws.below(100) < stories.topic_share, draws.below(100) < stories.chatter_share
    plain = CHATTY_SUBJECTS if is_chatty else PLAIN_SUBJECTS
    parts = [draws.choice(TOPIC_SUBJECTS if is_topical else plain), draws.choice(ACTIONS[action])]
    if is_chatty:
        closer = draws.choice(TOPIC_CLOSERS if is_topical and draws.below(3) == 0 else CLOSERS)
        parts = [draws.choice(OPENERS), *parts, closer]
    return _said(draws, " ".join(parts).format(**_names(subject)), is_chatty)


def short_sentence(draws: Draws, action: str, stories: StoryConfig) -> Sentence:
    """A further mention of the action alone, in two to four words."""
    return _said(draws, draws.choice(AGAIN[action]), draws.below(100) < stories.chatter_share)


def vocabulary() -> tuple[str, ...]:
    """Every word that a narrator can say, or speech recognition can write for it, in lower case and alphabetical."""
    fields = re.compile(r"\{\w+\}")
    phrases = (
        *(phrase for some in (*ACTIONS.values(), *AGAIN.values()) for phrase in some),
        *(*OPENERS, *TOPIC_SUBJECTS, *PLAIN_SUBJECTS, *CHATTY_SUBJECTS, *CLOSERS, *TOPIC_CLOSERS, *FILLERS),
        *(*MISHEARD.values(), *DIGIT_WORDS, *COLOURS, *GROUNDS),
    )
    return tuple(sorted({word for phrase in phrases for word in fields.sub("", phrase).lower().split()}))


def _names(subject: Subject) -> dict[str, str]:
    return {"digit": DIGIT_WORDS[subject.digit], "colour": subject.colour, "ground": subject.look.ground}


def _said(draws: Draws, text: str, is_chatty: bool) -> Sentence:
    spoken: list[str] = [] if is_chatty else text.split()
    for word in text.split() if is_chatty else ():
        if draws.below(100) < _FILLER_PERCENT:
            spoken += draws.choice(FILLERS).split()
        heard = MISHEARD.get(word, word) if draws.below(100) < _MISHEARD_PERCENT else word
        spoken += heard.split()
    clean = " ".join(text.split())
    return Sentence(spoken=tuple(spoken), clean=f"{clean[0].upper()}{clean[1:]}.")
