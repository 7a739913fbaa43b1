"""What stories of ScriptedMotion tell, and what their narrator says of it."""

import hashlib
import itertools
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tvts_bench.datasets.scripted_motion import narration, phrases
from tvts_bench.datasets.scripted_motion.parts import frame_digest
from tvts_bench.datasets.scripted_motion.render import ACTIONS, OPPOSITES
from tvts_bench.datasets.scripted_motion.world import World

WORLD = World(seed=3)
LONG = World(seed=3, narrated_shortest=60, narrated_longest=70)
CHATTY = World(seed=3, chatter_share=100, narrated_shortest=60, narrated_longest=70)
# sha256 of what is told in them; a change needs a new GENERATOR_VERSION
UNDONE = "82fd1bbe4751e3295752377f5f5d3924119b8096f0e0f1c36c7e9225f03a975a"
FREE = "3a45419b85e85f9d048ecdf9c39ad5f6c5aca47377079b8786a36a45cb56bae5"

# The action that a word names
SAID = {
    "left": "left", "right": "right", "rises": "up", "rising": "up", "sinks": "down", "sinking": "down",
    "clockwise": "clockwise", "anticlockwise": "anticlockwise", "grows": "grow", "growing": "grow", "bigger": "grow",
    "shrinks": "shrink", "shrinking": "shrink", "smaller": "shrink",
}  # fmt: skip


def transcribe(index: int, world: World = WORLD, telling: int = 0) -> dict[str, Any]:
    video = narration.narrated_videos(world, "train")[index]
    return narration.annotation(narration.tell(world, video, telling))


def actions(index: int, world: World = WORLD) -> list[str]:
    return [step["action"] for step in transcribe(index, world)["scripted_motion"]]


@pytest.mark.parametrize("index", range(40))
def test_in_an_undone_story_everything_done_is_undone(index: int) -> None:
    first, *others = actions(index)
    assert OPPOSITES[first] in others
    one, other = (other for other in others if other != OPPOSITES[first])
    assert OPPOSITES[one] == other
    assert OPPOSITES[other] == one
    for later in range(0, 12, 4):  # and so every round of a longer one
        assert {OPPOSITES[action] for action in actions(index, LONG)[later : later + 4]} == set(
            actions(index, LONG)[later : later + 4]
        )


def test_undone_rounds_come_in_every_order() -> None:
    """Nothing is likelier at one place than at another: a guess from what was done so far is no way to sort."""
    rounds = [actions(index) for index in range(400)]
    opposite_at = Counter(story.index(OPPOSITES[story[0]]) for story in rounds)
    assert all(133 - 40 < opposite_at[place] < 133 + 40 for place in (1, 2, 3))  # 4 deviations
    for place in range(4):
        counts = Counter(story[place] for story in rounds)
        assert all(50 - 27 < counts[action] < 50 + 27 for action in ACTIONS)


def test_in_a_free_story_actions_come_as_they_do() -> None:
    free = replace(WORLD, undone_share=0)
    stories = [actions(index, free) for index in range(200)]
    assert all(one != other for story in stories for one, other in itertools.pairwise(story))
    undone = sum({OPPOSITES[action] for action in story} == set(story) for story in stories)
    assert undone < 20  # 1 of 19 by chance
    mixed = replace(WORLD, undone_share=50)
    kinds = [actions(index, mixed) == actions(index) for index in range(200)]
    assert 100 - 30 < sum(kinds) < 100 + 30
    assert all(actions(index, mixed) == actions(index, free) for index in range(200) if not kinds[index])


def test_a_story_has_one_action_a_segment_wherever_it_is_cut() -> None:
    """Four segments of 3 s, 1 s apart, from any second that leaves room for them: all words of one action each."""
    for index in range(20):
        transcript = transcribe(index)
        steps, length = transcript["scripted_motion"], transcript["info"]["duration"]
        assert length == 16
        for start in (0.0, 0.3, 0.999):
            for segment, step in enumerate(steps):
                begin = start + 4 * segment
                heard = [word["time"] for word in transcript["subtitles"] if begin <= word["time"] < begin + 3]
                during = [
                    word["time"] for word in transcript["subtitles"] if step["start"] <= word["time"] < step["end"]
                ]
                assert heard == during != []
                assert any(SAID.get(word["word"], step["action"]) == step["action"] for word in transcript["subtitles"])


def test_a_story_told_again_shows_the_same_and_says_it_in_other_words() -> None:
    once, again = transcribe(5), transcribe(5, telling=1)
    assert once["scripted_motion"] == again["scripted_motion"]
    assert once["subtitles"] != again["subtitles"]
    assert transcribe(5, telling=1) == again
    video = narration.narrated_videos(WORLD, "train")[5]
    talkative = replace(WORLD, chatter_share=100, topic_share=100)
    films = [narration.tell(world, video, telling).frames() for world, telling in ((WORLD, 3), (talkative, 0))]
    assert (films[0] == films[1]).all()


def test_chatter_is_a_setting() -> None:
    """Without it, nothing is transcript but what is seen and what it does; what is heard is what was transcript."""
    bare = {"it", "this", *(word for some in (phrases.ACTIONS, phrases.AGAIN) for each in some.values()
                            for phrase in each for word in phrase.split())}  # fmt: skip
    terse = replace(WORLD, topic_share=0)
    assert {word["word"] for index in range(30) for word in transcribe(index, terse)["subtitles"]} <= bare
    chatty = {word["word"] for index in range(30) for word in transcribe(index, CHATTY)["subtitles"]}
    assert {"um", "watch", "friend", "clock"} <= chatty


def test_the_vocabulary_is_all_that_can_be_heard() -> None:
    talkative = replace(CHATTY, topic_share=60)
    heard = {word["word"].lower() for index in range(150) for word in transcribe(index, talkative)["subtitles"]}
    known = phrases.vocabulary()
    assert list(known) == sorted(set(known))
    assert heard <= set(known)
    assert len(set(known) - heard) < 5  # rare ones


@pytest.mark.parametrize("world", [WORLD, LONG, CHATTY])
@pytest.mark.parametrize("index", range(4))
def test_words_are_said_while_their_action_happens(index: int, world: World) -> None:
    transcript = transcribe(index, world)
    script, words = transcript["scripted_motion"], transcript["subtitles"]
    times = [word["time"] for word in words]
    assert times == sorted(times)
    checked = 0
    for word in words:
        during = next(step for step in script if step["start"] <= word["time"] < step["end"])
        if word["word"] in SAID:
            assert SAID[word["word"]] == during["action"]
            checked += 1
    assert checked > len(script) / 2
    assert not {"read", "lift"} & set(" ".join(span["cleanasr"] for span in transcript["denoised"]).lower().split())


@pytest.mark.parametrize("world", [WORLD, CHATTY])
def test_a_transcript_has_the_keys_and_types_of_yt_temporal(world: World) -> None:
    transcript = transcribe(0, world)
    assert all(set(word) == {"word", "time"} and " " not in word["word"] for word in transcript["subtitles"])
    assert all({"noisyasr", "cleanasr"} <= set(span) for span in transcript["denoised"])
    heard = " ".join(span["noisyasr"] for span in transcript["denoised"])
    assert heard.split() == [word["word"] for word in transcript["subtitles"]]
    duration = transcript["info"]["duration"]
    assert isinstance(duration, int)
    assert world.narrated_shortest <= duration <= world.narrated_longest + world.action_longest / 1000
    assert json.loads(json.dumps(transcript)) == transcript


def test_cleaned_chatter_needs_an_alignment() -> None:
    """Fillers go, mistakes are mended, capitals and full stops come: counts differ, most words stay."""
    different = 0
    for index in range(10):
        for span in transcribe(index, CHATTY)["denoised"]:
            heard, clean = span["noisyasr"].split(), span["cleanasr"].lower().replace(".", "").split()
            different += len(heard) != len(clean)
            assert sum((Counter(heard) & Counter(clean)).values()) > 0.8 * len(clean)
    assert different >= 8


def test_topics_can_be_left_out_of_the_words() -> None:
    quiet = replace(WORLD, topic_share=0)
    clean = " ".join(span["cleanasr"].lower() for i in range(5) for span in transcribe(i, quiet)["denoised"])
    assert not {"red", "seven", "grass", "three", "cyan", "brick"} & set(clean.replace(".", "").split())


@pytest.mark.parametrize(("world", "golden"), [(WORLD, UNDONE), (replace(CHATTY, undone_share=0), FREE)])
def test_stories_do_not_drift(world: World, golden: str) -> None:
    """As the frames: what is shown and what is transcript."""
    story = narration.tell(world, narration.NarratedVideo(path="videos/subset_0/data/golden.mp4", held_out=False))
    transcript = json.dumps(narration.annotation(story), sort_keys=True)
    assert hashlib.sha256((frame_digest("golden", story.frames()) + transcript).encode()).hexdigest() == golden
