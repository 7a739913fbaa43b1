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

from tvts_bench.datasets.scripted_motion.clips import SHAPES, Draws, Subject, draw_drift, draw_start, draw_subject
from tvts_bench.datasets.scripted_motion.phrases import Utterance, narrate
from tvts_bench.datasets.scripted_motion.render import ACTIONS, DIGIT_WORDS, OPPOSITES, TURN, Step, path, render
from tvts_bench.datasets.scripted_motion.world import World

_DRIFT = 8  # thousandths of a circle a second: as little beside the slower actions as in clips
_SPAN_WORDS = 120  # words in one span of `denoised`, about


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One subject on one ground, for several actions."""

    subject: Subject
    start: tuple[int, int, int, int]
    steps: tuple[Step, ...]


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

    def actions(self) -> Iterator[tuple[Subject, str, int, int]]:
        """Who does what, from which frame to which (excluded)."""
        frame = 0
        for scene in self.scenes:
            for step in scene.steps:
                yield scene.subject, step.action, frame, frame + step.frames
                frame += step.frames

    def frames(self) -> NDArray[np.uint8]:
        """uint8 RGB [T, H, W, 3]."""
        clips = [render(scene.subject.look, path(scene.start, scene.steps), *self.shape) for scene in self.scenes]
        return np.concatenate(clips)


@dataclass(frozen=True, kw_only=True)
class NarratedVideo:
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


def narrated_videos(world: World, split: str) -> list[NarratedVideo]:
    """The stories of `split` ("train" or "val")."""
    count = world.narrated_val if split == "val" else world.narrated_train
    return [
        NarratedVideo(
            path=f"videos/subset_{index % world.narrated_shards}/data/smN{split[0]}{index:07d}.mp4",
            held_out=split == "val",
        )
        for index in range(count)
    ]


def lists(split: str, videos: Sequence[NarratedVideo]) -> dict[str, str]:
    """Relative path -> text of the list of `split`."""
    names = "".join(f"{video.path.removeprefix('videos/')}\n" for video in videos)
    return {f"meta_data/yttemporal_{split}.csv": f"Name\n{names}"}


def tell(world: World, video: NarratedVideo, telling: int = 0) -> Story:
    """The story of that name: scenes until its length is reached, and every action spoken of while it lasts.

    Args:
        world: whose it is.
        video: its name.
        telling: number of the telling; see `retell`.
    """
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
    """The same frames in other words.

    Args:
        world: whose it is.
        story: in any words.
        telling: number of the telling; files hold telling 0.

    Returns:
        What `tell` returns of the same video with this telling.
    """
    draws = Draws(world.seed, f"{story.name}\0{telling}")
    utterances: list[Utterance] = []
    for subject, action, start, stop in story.actions():
        utterances += narrate(draws, world, subject, action, (start * 1000 // world.fps, stop * 1000 // world.fps))
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
            {"word": word.text, "time": word.time / 1000} for spoken in story.utterances for word in spoken.words
        ],
        "scripted_motion": [
            {
                "action": action,
                "start": round(start / story.fps, 3),
                "end": round(stop / story.fps, 3),
                "digit": DIGIT_WORDS[subject.digit],
                "colour": subject.colour,
                "ground": subject.look.ground,
            }
            for subject, action, start, stop in story.actions()
        ],
    }


def _denoised(utterances: Sequence[Utterance]) -> list[dict[str, str]]:
    """Spans of whole sentences, as heard and as cleaned."""
    spans: list[list[Utterance]] = [[]]
    for utterance in utterances:
        if sum(len(each.words) for each in spans[-1]) >= _SPAN_WORDS:
            spans.append([])
        spans[-1].append(utterance)
    return [
        {
            "noisyasr": " ".join(word.text for utterance in span for word in utterance.words),
            "cleanasr": " ".join(utterance.clean for utterance in span),
        }
        for span in spans
    ]
