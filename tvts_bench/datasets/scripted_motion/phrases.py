"""How a narrator talks about what is seen: phrases, chatter, what speech recognition hears of it, and when."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tvts_bench.datasets.scripted_motion.clips import Draws, Subject
from tvts_bench.datasets.scripted_motion.render import COLOURS, DIGIT_WORDS, GROUNDS
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
_WORD_SHORTEST, _WORD_LONGEST = 200, 320  # milliseconds from one word to the next
_PAUSE = 1000  # milliseconds at each end of an action without a word: one sees, then speaks
_LAST_WORD = 150  # milliseconds that the last word needs before it ends


@dataclass(frozen=True, kw_only=True)
class TimedWord:
    """A word and when it begins."""

    text: str  # as speech recognition hears it: lower case, fillers, mistakes
    time: int  # milliseconds


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One sentence in time."""

    words: tuple[TimedWord, ...]
    clean: str  # as written down afterwards: capitals, a full stop, no fillers, no mistakes


def narrate(
    draws: Draws, stories: StoryConfig, subject: Subject, action: str, span: tuple[int, int]
) -> Iterator[Utterance]:
    """What is said of one action: a sentence that names it, and further mentions while there is time.

    Args:
        draws: random numbers of this telling.
        stories: how often the narrator names what is seen, or chatters.
        subject: what is seen.
        action: what it does, a key of ACTIONS.
        span: milliseconds from when to when; every word is within it, less a pause of a quarter at most at both ends.

    Yields:
        In the order of time.
    """
    pause = min(_PAUSE, (span[1] - span[0]) // 4)
    end = span[1] - pause
    text, is_chatty = _main_sentence(draws, action, subject, stories)
    heard = _heard(draws, text, is_chatty)
    start = span[0] + pause + draws.between(0, 120)
    while True:
        utterance = _spoken(draws, heard, text, (start, end))
        yield utterance
        start = utterance.words[-1].time + draws.between(350, 600)
        text = draws.choice(AGAIN[action])
        heard = _heard(draws, text, draws.below(100) < stories.chatter_share)
        if start + len(heard) * _WORD_LONGEST >= end:
            return


def vocabulary() -> tuple[str, ...]:
    """Every word that a narrator can say, or speech recognition can write for it, in lower case and alphabetical."""
    fields = re.compile(r"\{\w+\}")
    phrases = (
        *(phrase for some in (*ACTIONS.values(), *AGAIN.values()) for phrase in some),
        *(*OPENERS, *TOPIC_SUBJECTS, *PLAIN_SUBJECTS, *CHATTY_SUBJECTS, *CLOSERS, *TOPIC_CLOSERS, *FILLERS),
        *(*MISHEARD.values(), *DIGIT_WORDS, *COLOURS, *GROUNDS),
    )
    return tuple(sorted({word for phrase in phrases for word in fields.sub("", phrase).lower().split()}))


def _main_sentence(draws: Draws, action: str, subject: Subject, stories: StoryConfig) -> tuple[str, bool]:
    """A sentence that names the action and, as often as `stories` says, what is seen; and whether it is chatter."""
    is_topical, is_chatty = draws.below(100) < stories.topic_share, draws.below(100) < stories.chatter_share
    plain = CHATTY_SUBJECTS if is_chatty else PLAIN_SUBJECTS
    parts = [draws.choice(TOPIC_SUBJECTS if is_topical else plain), draws.choice(ACTIONS[action])]
    if is_chatty:
        closer = draws.choice(TOPIC_CLOSERS if is_topical and draws.below(3) == 0 else CLOSERS)
        parts = [draws.choice(OPENERS), *parts, closer]
    sentence = " ".join(filter(None, parts))
    names = {"digit": DIGIT_WORDS[subject.digit], "colour": subject.colour, "ground": subject.look.ground}
    return sentence.format(**names), is_chatty


def _heard(draws: Draws, text: str, is_chatty: bool) -> list[str]:
    """The words of a sentence as speech recognition hears them; of chatter, with fillers and mistakes."""
    if not is_chatty:
        return text.split()
    heard: list[str] = []
    for word in text.split():
        if draws.below(100) < _FILLER_PERCENT:
            heard += draws.choice(FILLERS).split()
        heard += (MISHEARD.get(word, word) if draws.below(100) < _MISHEARD_PERCENT else word).split()
    return heard


def _spoken(draws: Draws, heard: Sequence[str], text: str, span: tuple[int, int]) -> Utterance:
    """Give each word its time; a long sentence in a short time is spoken faster."""
    gaps = [draws.between(_WORD_SHORTEST, _WORD_LONGEST) for _ in heard[1:]]
    room, needed = max(span[1] - span[0] - _LAST_WORD, 0), sum(gaps)
    if needed > room:
        gaps = [gap * room // needed for gap in gaps]
    times = itertools.accumulate(gaps, initial=span[0])
    words = tuple(TimedWord(text=word, time=time) for word, time in zip(heard, times, strict=True))
    return Utterance(words=words, clean=f"{text[0].upper()}{text[1:]}.")
