"""Narrated ScriptedMotion drawn while it is trained on: the frames and words of the world's stories, without files.

A story's frames are those that `tvts-bench make-data` encodes, and only the ones that a sample shows are drawn; its
words are those heard, with their times (the cleaned text and its alignment belong to the files). So there are many
different videos and nothing to make first, and loading keeps up with a small model on one core.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.data.clip_sampling import (
    ClipSegments,
    CropConfig,
    SegmentConfig,
    crop_clip,
    draw_segments,
    frame_times,
    usable,
)
from pretrain.data.index import Entry, Index, Report
from pretrain.data.sample_cache import TELLINGS, PooledStory, StoryPool, make_pool
from pretrain.data.sources import Sample, Source, SourceConfig
from pretrain.data.transcripts import Word, clean
from tvts_bench.datasets.scripted_motion.narration import Story, narrated_videos, retell, tell
from tvts_bench.datasets.scripted_motion.render import path, render
from tvts_bench.datasets.scripted_motion.world import StoryConfig, World
from tvts_bench.errors import UserError
from tvts_bench.runtime import Progress, silent

WORLD = World(narrated_train=100_000, narrated_val=1_000)
"""The default world with more videos: the first of each split are those that its files hold."""
_POOL = 5  # what a generator is for: no run's seed begins with its samples
_ATTEMPTS = 20  # stories tried in place of one that falls silent too long


class StoryIndex(Index):
    """The stories of a split. There is no file behind it."""

    def __init__(self, split: str, stories: StoryConfig | None = None, count: int | None = None) -> None:
        """Of the default world, or with other `stories`; the first `count`, or all."""
        super().__init__(Path(f"drawn-{split}"))
        self.split = split
        self.world = WORLD if stories is None else WORLD.telling(stories)
        self._names = tuple(narrated_videos(self.world, split)[:count])

    def __getstate__(self) -> dict[str, Any]:
        return {"split": self.split, "stories": self.world.stories, "count": len(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # names are quicker made than sent

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> Entry:
        name = self._names[number]
        return Entry(id=name.name, path=Path(name.path))

    def story(self, number: int) -> Story:
        """Story `number`."""
        return tell(self.world, self._names[number])

    @property
    def report(self) -> Report:
        """All are used: a story without a sample is replaced by a following one."""
        return Report(listed=len(self), used=len(self), excluded={}, counts={})


@dataclass(frozen=True, kw_only=True)
class DrawnSource(Source):
    """Samples of stories."""

    index: StoryIndex
    pool: StoryPool | None = None  # of all its stories, for training

    @property
    def world(self) -> str:
        """As of any source."""
        return self.index.world.digest

    def sample(self, number: int, rng: np.random.Generator, *, training: bool = True) -> Sample:
        """As of a source of files.

        Args:
            number: from 0.
            rng: the sample's own generator.
            training: whether frames and crop are drawn, or come from the pool; else they are the centre ones.
        """
        if self.pool is not None and training:
            texts = self.pool.texts(number, int(rng.integers(TELLINGS)))
            return Sample(id=self.index[number].id, clip=self.pool.clips[number], texts=texts)
        return self._draw(number, rng, training)[0]

    def texts(self, number: int, rng: np.random.Generator) -> tuple[str, ...]:
        """The words of a sample alone."""
        if self.pool is not None:
            return self.pool.texts(number, int(rng.integers(TELLINGS)))
        story, words = self.usable_story(number)
        return draw_segments(words, story.num_frames / story.fps, self.segments, rng).texts(words)

    def for_pool(self, number: int) -> PooledStory:
        """Story `number` with frames and crop drawn once and for all, and in all its tellings."""
        sample, cut, story = self._draw(number, np.random.default_rng([_POOL, number]), training=True)
        again = (retell(self.index.world, story, telling) for telling in range(1, TELLINGS))
        tellings = [cut.texts(words_heard(other)) for other in again]
        # A telling that falls silent in a segment, as those of other worlds can, gives way to the first.
        texts = (each if all(each) else sample.texts for each in tellings)
        return PooledStory(clip=sample.clip, tellings=(sample.texts, *texts))

    def _draw(self, number: int, rng: np.random.Generator, training: bool) -> tuple[Sample, ClipSegments, Story]:
        """A sample, how it was cut, and out of which story."""
        for_cut, for_frames, for_crop = rng.spawn(3)
        story, words = self.usable_story(number)
        cut = draw_segments(words, story.num_frames / story.fps, self.segments, for_cut)
        times = frame_times(cut.begin, cut.end, self.config.frames, for_frames if training else None)
        frames = frames_of(story, np.minimum((times * story.fps).astype(np.int64), story.num_frames - 1))
        clip = crop_clip(frames, self.crop, for_crop if training else None)
        return Sample(id=story.name, clip=clip, texts=cut.texts(words), events=cut.events), cut, story

    def usable_story(self, number: int) -> tuple[Story, tuple[Word, ...]]:
        """Story `number`, or the next of which a sample can be cut, with its words.

        Raises:
            UserError: stories are too short for the segments that are wanted.
        """
        for attempt in range(_ATTEMPTS):
            story = self.index.story((number + attempt) % len(self))
            words = words_heard(story)
            if usable(words, story.num_frames / story.fps, self.segments) is None:
                return story, words
        cut = self.segments
        raise UserError(
            f"scripted_motion_drawn's stories of {WORLD.narrated_longest} s do not hold "
            f"{cut.segments} segments of {min(cut.lengths):g} s, or at least {cut.min_length:g} s, {cut.gap:g} s apart "
            "and each with a word: lower data.min_length, data.lengths, data.gap or objective.segments"
        )


def drawn_source(
    config: SourceConfig, segments: SegmentConfig, crop: CropConfig, *, cache: Path, progress: Progress = silent
) -> DrawnSource:
    """The stories of a split, ready to be sampled.

    Args:
        config: which.
        segments: how samples are cut out of them.
        crop: how frames are cut.
        cache: where their pool is made, if one is wanted.
        progress: shows the pool being made.

    Raises:
        UserError: they are too short for the segments that are wanted, or fewer than the pool, which cannot be written.
    """
    index = StoryIndex(config.split, config.stories, config.pool)
    if config.pool is not None and len(index) < config.pool:
        raise UserError(f"pool={config.pool} is more than the {len(index)} stories of split {config.split}")
    source = DrawnSource(config=config, index=index, segments=segments, crop=crop)
    source.usable_story(0)  # what no story can give is an error now, not in the first batch
    if config.pool is None:
        return source
    made_of = [index.world.digest, config.split, config.frames, segments, crop]
    return replace(source, pool=make_pool(made_of, len(index), source.for_pool, cache=cache, progress=progress))


def words_heard(story: Story) -> tuple[Word, ...]:
    """The words of a story with their times."""
    spoken = (word for utterance in story.utterances for word in utterance.words)
    return tuple(Word(text, word.time / 1000) for word in spoken if (text := clean(word.text)))


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
