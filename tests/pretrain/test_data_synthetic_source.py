"""Stories that are drawn, not read: the same as those in files."""

import json
from pathlib import Path

import pytest
import torch

from pretrain.data.build import build_source
from pretrain.data.clip_sampling import CropConfig, SegmentConfig
from pretrain.data.sources import SourceConfig
from pretrain.data.synthetic_source import StoryIndex, frames_of, words_heard
from pretrain.runs import begin
from tests.support.tiny_run import tiny
from tvts_bench.datasets.scripted_motion import World, make_world, narration
from tvts_bench.datasets.scripted_motion.world import StoryConfig
from tvts_bench.errors import UserError


def test_stories_too_short_for_the_segments_are_an_error_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"do not hold 6 segments of 20 s, or at least 15 s, 1 s apart"):
        begin(*tiny(tmp_path, "objective.segments=6", "data.lengths=[20.0]", "data.min_length=15"))


def test_drawn_frames_and_words_are_those_of_the_story() -> None:
    story = StoryIndex("train").story(3)
    wanted = torch.arange(0, story.num_frames, 7).numpy()
    assert (frames_of(story, wanted) == story.frames()[wanted]).all()
    assert words_heard(story)[0].text == story.utterances[0].words[0].text
    assert words_heard(story)[-1].start == story.utterances[-1].words[-1].time / 1000


def test_files_and_drawn_samples_tell_the_same_stories(tmp_path: Path) -> None:
    """The first drawn stories are those that `make-data` writes, with the words of their files' first telling."""
    stories = StoryConfig(undone_share=50, topic_share=100)
    world = World(narrated_train=2).telling(stories)
    make_world(tmp_path, world, parts=("narrated-train",), workers=0)
    drawn = StoryIndex("train", stories)
    for number, path in enumerate(sorted(tmp_path.glob("yt_temporal/videos/*/annotations/*.json"))):
        written, story = json.loads(path.read_text()), drawn.story(number)
        assert written["info"]["id"] == story.name == path.stem
        assert written == narration.annotation(story)
        heard = [(word["word"], word["time"]) for word in written["subtitles"]]
        assert heard == [(word.text, word.start) for word in words_heard(story)]


def test_stories_of_another_world_are_refused(tmp_path: Path) -> None:
    make_world(tmp_path, World(narrated_train=1), parts=("narrated-train",), workers=0)
    wanted = SourceConfig(kind="scripted_motion", root=tmp_path, stories=StoryConfig(undone_share=0))
    with pytest.raises(UserError, match=r"tells other stories, .*undone_share=100.*undone_share=0.*another root"):
        build_source(wanted, SegmentConfig(), CropConfig(size=32, short_side=36), cache=tmp_path / "cache")
    with pytest.raises(UserError, match=r"stories\.undone_share is a percentage|undone_share is a percentage from 0"):
        tiny(tmp_path, "data.sources.0.stories={undone_share: 101}")
    with pytest.raises(UserError, match="stories are told in scripted_motion alone, not in folder"):
        SourceConfig(kind="folder", root=tmp_path, stories=StoryConfig())
