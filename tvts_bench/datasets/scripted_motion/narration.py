"""Long narrated videos, and their transcripts in the JSON of YT-Temporal-180M.

That layout, as MERLOT released it and as the code of TVTS reads it:

    meta_data/yttemporal_train.csv                tab-separated, one column `Name`: subset_87/data/ID.mp4
    videos/subset_87/data/ID.mp4
    videos/subset_87/annotations/ID.json
      subtitles   [{"word": "hey", "time": 0.179}, ...]    words as heard, with the second at which each begins
      denoised    [{"noisyasr": ..., "cleanasr": ...}, ...]  spans of some hundred words before and after cleaning; the
                  cleaned words have no times and other counts, so they are aligned to `subtitles` by edit distance
      info        the video's page: id, title, description, duration (whole seconds), fps, width, height, ...

Stories come in two kinds. In a *free* one, actions follow each other as they come. In an *undone* one, every four make
a round of an action, its opposite, another and its opposite, in random order (`StoryConfig` in `world`). What is shown
is drawn from the video's name, what is said from the name and the number of the telling: a video told again shows the
same, in other words. Files hold the first telling.

The released files also carry top_p, ctx_ppl and model_name of the language model that cleaned a span; no model cleaned
ours, so they are left out. One key is added, `scripted_motion`: what really happens when, for tests and analysis.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvts_bench.datasets.scripted_motion import phrases
from tvts_bench.datasets.scripted_motion.clips import SHAPES, Subject, draw_drift, draw_start, draw_subject
from tvts_bench.datasets.scripted_motion.draws import Draws
from tvts_bench.datasets.scripted_motion.motions import ACTIONS, OPPOSITES, TURN, Step, path
from tvts_bench.datasets.scripted_motion.render import render
from tvts_bench.datasets.scripted_motion.sprites import DIGIT_WORDS
from tvts_bench.datasets.scripted_motion.world import World

_DRIFT = 8  # thousandths of a circle a second: as little beside the slower actions as in clips
_WORD_SHORTEST, _WORD_LONGEST = 200, 320  # milliseconds from one word to the next
_PAUSE = (
    1000  # milliseconds at each end of an action without a word, but a quarter of it at most: one sees, then speaks
)
_LAST_WORD = 150  # milliseconds that the last word needs before it ends
_SPAN_WORDS = 120  # words in one span of `denoised`, about


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One subject on one ground, for several actions."""

    subject: Subject
    start: tuple[int, int, int, int]
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word and when it begins."""

    text: str
    time: int  # milliseconds


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One sentence in time."""

    words: tuple[Word, ...]
    clean: str


@dataclass(frozen=True, kw_only=True)
class Story:
    """A narrated video: what is shown and what is said."""

    name: str
    shape: tuple[int, int]
    fps: int
    scenes: tuple[Scene, ...]
    utterances: tuple[Utterance, ...]

    @property
    def num_frames(self) -> int:
        """Length of the video in frames."""
        return sum(step.frames for scene in self.scenes for step in scene.steps)

    def frames(self) -> NDArray[np.uint8]:
        """uint8 RGB [T, H, W, 3]."""
        clips = [render(scene.subject.look, path(scene.start, scene.steps), *self.shape) for scene in self.scenes]
        return np.concatenate(clips)


@dataclass(frozen=True, kw_only=True)
class Narrated:
    """The name of a story; all else is drawn from the seed."""

    path: str  # relative to the layout's folder
    held_out: bool

    @property
    def name(self) -> str:
        """The video's id."""
        return self.path.rpartition("/")[2].removesuffix(".mp4")

    @property
    def annotation(self) -> str:
        """Where its JSON lies, relative to the layout's folder."""
        return f"{self.path.rpartition('/data/')[0]}/annotations/{self.name}.json"


def narrated_videos(world: World, split: str) -> list[Narrated]:
    """The stories of `split` ("train" or "val")."""
    count = world.narrated_val if split == "val" else world.narrated_train
    return [
        Narrated(
            path=f"videos/subset_{index % world.narrated_shards}/data/smN{split[0]}{index:07d}.mp4",
            held_out=split == "val",
        )
        for index in range(count)
    ]


def lists(split: str, videos: Sequence[Narrated]) -> dict[str, str]:
    """Relative path -> text of the list of `split`."""
    names = "".join(f"{video.path.removeprefix('videos/')}\n" for video in videos)
    return {f"meta_data/yttemporal_{split}.csv": f"Name\n{names}"}


def tell(world: World, video: Narrated, telling: int = 0) -> Story:
    """The story of that name: scenes until its length is reached, and every action spoken of while it lasts."""
    draws = Draws(world.seed, video.path.rpartition("/")[2])
    shape = draws.choice(SHAPES)
    left = draws.between(world.narrated_shortest, world.narrated_longest) * world.fps  # frames
    actions = _undone(draws) if draws.below(100) < world.undone_share else _free(draws)
    scenes: list[Scene] = []
    while left > 0:
        scene = _scene(draws, world, actions, left, video.held_out)
        scenes.append(scene)
        left -= sum(step.frames for step in scene.steps)
    silent = Story(name=video.name, shape=shape, fps=world.fps, scenes=tuple(scenes), utterances=())
    return retell(world, silent, telling)


def retell(world: World, story: Story, telling: int) -> Story:
    """The same frames in other words: those of `tell` with this telling."""
    draws, utterances, frame = Draws(world.seed, f"{story.name}\0{telling}"), [], 0
    for scene in story.scenes:
        for step in scene.steps:
            begin, end = frame * 1000 // world.fps, (frame + step.frames) * 1000 // world.fps
            utterances += _narrate(draws, world, scene.subject, step.action, (begin, end))
            frame += step.frames
    return replace(story, utterances=tuple(utterances))


def _free(draws: Draws) -> Iterator[str]:
    """Actions as they come, never the same twice in a row."""
    action = draws.choice(tuple(ACTIONS))
    while True:
        yield action
        before = action
        action = draws.choice([other for other in ACTIONS if other != before])


def _undone(draws: Draws) -> Iterator[str]:
    """Rounds of four: two actions of different circles and the two that undo them, in random order."""
    while True:
        one = draws.choice(tuple(ACTIONS))
        other = draws.choice([action for action in ACTIONS if action not in (one, OPPOSITES[one])])
        yield from draws.shuffled((one, OPPOSITES[one], other, OPPOSITES[other]))


def _scene(draws: Draws, world: World, actions: Iterator[str], most: int, held_out: bool) -> Scene:
    """One scene of at least one action and, but for the last action, at most `most` frames."""
    subject = draw_subject(draws, held_out=held_out, digit=None, ground=None)
    left = min(draws.between(world.scene_shortest, world.scene_longest) * world.fps, most)
    start = draw_start(draws)
    steps: list[Step] = []
    while left > 0:
        step = Step(
            action=next(actions),
            frames=draws.between(world.action_shortest, world.action_longest) * world.fps // 1000,
            speed=draws.between(world.narrated_slowest, world.narrated_fastest) * TURN // (1000 * world.fps),
            drift=draw_drift(draws, world.fps, _DRIFT),
        )
        steps.append(step)
        left -= step.frames
    return Scene(subject=subject, start=start, steps=tuple(steps))


def _narrate(draws: Draws, world: World, subject: Subject, action: str, span: tuple[int, int]) -> list[Utterance]:
    """What is said of one action, every word within its `span` (milliseconds) less the pauses."""
    pause = min(_PAUSE, (span[1] - span[0]) // 4)
    begin, end = span[0] + pause, span[1] - pause
    main = phrases.main_sentence(draws, action, subject, world)
    spoken = [_speak(draws, main, begin + draws.between(0, 120), end)]
    while True:
        after = spoken[-1].words[-1].time + draws.between(350, 600)
        again = phrases.short_sentence(draws, action, world)
        if after + len(again.spoken) * _WORD_LONGEST >= end:
            return spoken
        spoken.append(_speak(draws, again, after, end))


def _speak(draws: Draws, sentence: phrases.Sentence, begin: int, end: int) -> Utterance:
    """Give each word its time; a long sentence in a short time is spoken faster."""
    gaps = [draws.between(_WORD_SHORTEST, _WORD_LONGEST) for _ in sentence.spoken[1:]]
    room, needed = max(end - begin - _LAST_WORD, 0), sum(gaps)
    if needed > room:
        gaps = [gap * room // needed for gap in gaps]
    times = [begin + sum(gaps[:index]) for index in range(len(sentence.spoken))]
    words = tuple(Word(text=text, time=time) for text, time in zip(sentence.spoken, times, strict=True))
    return Utterance(words=words, clean=sentence.clean)


def annotation(story: Story) -> dict[str, Any]:
    """The story's transcript as in YT-Temporal's JSON."""
    digits = list(dict.fromkeys(DIGIT_WORDS[scene.subject.digit] for scene in story.scenes))
    return {
        "denoised": _denoised(story.utterances),
        "info": {
            "id": story.name,
            "title": f"What the {' and the '.join(digits)} did",
            "description": "A narrated video of ScriptedMotion, made from a seed.",
            "duration": story.num_frames // story.fps,
            "fps": story.fps,
            "height": story.shape[0],
            "width": story.shape[1],
            "ext": "mp4",
            "categories": ["Education"],
            "tags": digits,
        },
        "subtitles": [
            {"word": word.text, "time": word.time / 1000} for said in story.utterances for word in said.words
        ],
        "scripted_motion": _script(story),
    }


def _denoised(utterances: Sequence[Utterance]) -> list[dict[str, str]]:
    """Spans of whole sentences, as heard and as cleaned."""
    spans: list[list[Utterance]] = [[]]
    for said in utterances:
        if sum(len(each.words) for each in spans[-1]) >= _SPAN_WORDS:
            spans.append([])
        spans[-1].append(said)
    return [
        {
            "noisyasr": " ".join(word.text for said in span for word in said.words),
            "cleanasr": " ".join(said.clean for said in span),
        }
        for span in spans
    ]


def _script(story: Story) -> list[dict[str, Any]]:
    """What happens when: action, its seconds, and what is seen."""
    script, frame = [], 0
    for scene in story.scenes:
        for step in scene.steps:
            end = frame + step.frames
            script.append(
                {
                    "action": step.action,
                    "start": round(frame / story.fps, 3),
                    "end": round(end / story.fps, 3),
                    "digit": DIGIT_WORDS[scene.subject.digit],
                    "colour": scene.subject.colour,
                    "ground": scene.subject.look.ground,
                }
            )
            frame = end
    return script
