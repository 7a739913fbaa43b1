"""Narrated ScriptedMotion drawn while it is trained on: the frames and words of the world's stories, without files.

A story's frames are those that `tvts-bench make-data` encodes, and only the ones that a sample shows are drawn; its
words are those heard, with their times (the cleaned text and its alignment belong to the files). So there are many
different videos and nothing to make first, and loading keeps up with a small model on one core.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.data.cropping import CropConfig, crop_clip
from pretrain.data.index import Entry, Index, Report
from pretrain.data.segments import SegmentConfig, draw_cut, frame_times, usable
from pretrain.data.sources import Sample, Source, SourceConfig, SourceConfigError
from pretrain.data.transcripts import Word, clean, text_between
from tvts_bench.datasets.scripted_motion.motions import path
from tvts_bench.datasets.scripted_motion.narration import Story, narrated_videos, tell
from tvts_bench.datasets.scripted_motion.render import render
from tvts_bench.datasets.scripted_motion.world import StoryConfig, World

WORLD = World(narrated_train=100_000, narrated_val=1_000)
"""The default world with more videos: the first of each split are those that its files hold."""
_ATTEMPTS = 20  # stories tried in place of one that falls silent too long


class StoryIndex(Index):
    """The stories of a split. There is no file behind it."""

    def __init__(self, split: str, stories: StoryConfig | None = None) -> None:
        """Of the default world, or with other `stories`."""
        super().__init__(Path(f"drawn-{split}"))
        self.split = split
        self.world = WORLD if stories is None else WORLD.telling(stories)
        self._names = tuple(narrated_videos(self.world, split))

    def __getstate__(self) -> dict[str, Any]:
        return {"split": self.split, "stories": self.world.stories}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["split"], state["stories"])  # type: ignore[misc]  # names are quicker made than sent

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> Entry:
        name = self._names[number]
        return Entry(id=name.name, path=Path(name.path))

    def story(self, number: int, telling: int = 0) -> Story:
        """Story `number`, told."""
        return tell(self.world, self._names[number], telling)

    @property
    def report(self) -> Report:
        """All are used: a story without a sample is replaced by a following one."""
        return Report(listed=len(self), used=len(self), excluded={}, counts={})


@dataclass(frozen=True, kw_only=True)
class DrawnSource(Source):
    """Samples of stories."""

    index: StoryIndex

    def sample(self, number: int, rng: np.random.Generator, *, training: bool = True) -> Sample:
        """As of a source of files: a random cut, frames and crop if `training`, else centre frames and crop."""
        for_cut, for_frames, for_crop = rng.spawn(3)
        story, words = self.told(number)
        cut = draw_cut(words, story.num_frames / story.fps, self.segments, for_cut)
        times = frame_times(cut.begin, cut.end, self.config.frames, for_frames if training else None)
        frames = frames_of(story, np.minimum((times * story.fps).astype(np.int64), story.num_frames - 1))
        texts = tuple(text_between(words, start, start + cut.length) for start in cut.starts)
        clip = crop_clip(frames, self.crop, for_crop if training else None)
        return Sample(id=story.name, clip=clip, texts=texts, events=Counter(cut.events))

    def told(self, number: int) -> tuple[Story, tuple[Word, ...]]:
        """Story `number`, or the next of which a sample can be cut, with its words.

        Raises:
            SourceConfigError: stories are too short for the segments that are wanted.
        """
        for attempt in range(_ATTEMPTS):
            story = self.index.story((number + attempt) % len(self))
            words = words_heard(story)
            if usable(words, story.num_frames / story.fps, self.segments) is None:
                return story, words
        cut = self.segments
        raise SourceConfigError(
            f"scripted_motion_drawn's stories of {WORLD.narrated_longest} s do not hold "
            f"{cut.segments} segments of {min(cut.lengths):g} s, or at least {cut.min_length:g} s, {cut.gap:g} s apart "
            "and each with a word: lower data.min_length, data.lengths, data.gap or objective.segments"
        )


def drawn_source(config: SourceConfig, segments: SegmentConfig, crop: CropConfig) -> DrawnSource:
    """The stories of a split, ready to be sampled.

    Raises:
        SourceConfigError: they are too short for the segments that are wanted.
    """
    source = DrawnSource(config=config, index=StoryIndex(config.split, config.stories), segments=segments, crop=crop)
    source.told(0)  # what no story can give is an error now, not in the first batch
    return source


def words_heard(story: Story) -> tuple[Word, ...]:
    """The words of a story with their times."""
    said = (word for utterance in story.utterances for word in utterance.words)
    return tuple(Word(text, word.time / 1000) for word in said if (text := clean(word.text)))


def frames_of(story: Story, wanted: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Frames `wanted` (increasing) of a story, uint8 RGB [len(wanted), H, W, 3]: those of `story.frames()`."""
    frames, first = [], 0
    for scene in story.scenes:
        count = sum(step.frames for step in scene.steps)
        here = wanted[(wanted >= first) & (wanted < first + count)] - first
        if len(here):
            frames.append(render(scene.subject.look, path(scene.start, scene.steps)[here], *story.shape))
        first += count
    return np.concatenate(frames)
