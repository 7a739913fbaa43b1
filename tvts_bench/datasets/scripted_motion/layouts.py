"""The official trees: which clips a part of the world holds, of which classes, and the lists that go with them.

A list is written after the last of its clips, so a tree never lists a file that is not there.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tvts_bench.datasets.scripted_motion.clips import Draws, LabelledClass, ScriptedClip, take
from tvts_bench.datasets.scripted_motion.render import DIGIT_WORDS
from tvts_bench.datasets.scripted_motion.world import World

Lists = dict[str, str]
"""Relative path -> text."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A part of the world in the layout of one data set: pure functions of the world."""

    folder: str
    classes: tuple[LabelledClass, ...]
    clips: Callable[[World], list[ScriptedClip]]
    lists: Callable[[World, Sequence[ScriptedClip]], Lists]


_RING = ("left", "clockwise", "up", "grow", "right", "anticlockwise", "down", "shrink")

PAIRS: tuple[tuple[str, str], ...] = tuple(
    pair
    for first, second in zip(_RING, _RING[1:] + _RING[:1], strict=True)
    for pair in ((first, second), (second, first))
)
"""Ordered pairs. Neighbours on a ring, so every action is in two of them; A-then-B and B-then-A are two classes."""

_TEMPLATES = {
    "left": "Moving [something] to the left",
    "right": "Moving [something] to the right",
    "up": "Moving [something] up",
    "down": "Moving [something] down",
    "clockwise": "Turning [something] clockwise",
    "anticlockwise": "Turning [something] anticlockwise",
    "grow": "Growing [something]",
    "shrink": "Shrinking [something]",
}
_KINETICS = {"left": "sliding left", "right": "sliding right", "clockwise": "spinning clockwise", "grow": "growing"}
_VERBS = {
    **dict.fromkeys(("left", "right", "up", "down"), "slide "),
    **dict.fromkeys(("clockwise", "anticlockwise"), "turn "),
}


def _template(actions: tuple[str, ...]) -> str:
    """Something-Something's sentence, with its placeholder in brackets."""
    first, *then = (_TEMPLATES[action] for action in actions)
    return ", then ".join((first, *(each[0].lower() + each[1:].replace("[something]", "it") for each in then)))


def _balanced(world: World, part: str, count: int, classes: Sequence[LabelledClass]) -> list[LabelledClass]:
    """`count` classes in random order, each as often as the others or once more."""
    return Draws(world.seed, part).shuffled([classes[index % len(classes)] for index in range(count)])


# Something-Something V2: numbered webm files, JSON lists with a template and what it was filled with.

SSV2 = tuple(
    LabelledClass(name=_template(actions).replace("[something]", "something"), actions=actions)
    for actions in (*((action,) for action in _TEMPLATES), *PAIRS)
)
"""24 classes that only the motion decides: 8 actions and 16 ordered pairs."""


def _ssv2_clips(world: World, split: str) -> list[ScriptedClip]:
    held_out = split == "val"
    count, first = (world.ssv2_val, 500_001) if held_out else (world.ssv2_train, 1)
    kinds = _balanced(world, f"ssv2-{split}", count, SSV2)
    return [
        ScriptedClip(path=f"20bn-something-something-v2/{number}.webm", kind=kind, held_out=held_out)
        for number, kind in enumerate(kinds, first)
    ]


def _ssv2_lists(world: World, clips: Sequence[ScriptedClip], file: str) -> Lists:
    entries = []
    for clip in clips:
        subject, template = take(world, clip).subject, _template(clip.kind.actions)
        thing = f"{subject.colour} {DIGIT_WORDS[subject.digit]}"
        label = template.replace("[something]", thing).lower()
        entry = {"id": Path(clip.path).stem, "label": label, "template": template, "placeholders": [thing]}
        entries.append(json.dumps(entry))
    names = {name: str(index) for index, name in enumerate(sorted(kind.name for kind in SSV2))}
    return {
        "something-something-v2-labels.json": json.dumps(names, indent=1),
        f"something-something-v2-{file}.json": "[\n" + ",\n".join(entries) + "\n]\n",
    }


# Kinetics-400: one folder of mp4 files a split, named by video and time, and a csv.

K400 = tuple(
    LabelledClass(name=f"{DIGIT_WORDS[digit]} {doing} on {ground}", actions=(action,), digit=digit, ground=ground)
    for ground in ("grass", "water", "brick")
    for digit in (3, 7)
    for action, doing in _KINETICS.items()
)
"""24 classes of digit x ground x action: a frame tells six groups of four apart, motion the rest."""


def _k400_clips(world: World, split: str) -> list[ScriptedClip]:
    count = world.k400_val if split == "val" else world.k400_train
    clips = []
    for index, kind in enumerate(_balanced(world, f"k400-{split}", count, K400)):
        start = Draws(world.seed, f"k400-{split}-{index}").below(300)
        name = f"{split[0].upper()}sm{index:08d}_{start:06d}_{start + 10:06d}.mp4"
        clips.append(ScriptedClip(path=f"{split}/{name}", kind=kind, held_out=split == "val"))
    return clips


def _k400_lists(world: World, clips: Sequence[ScriptedClip], split: str) -> Lists:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("label", "youtube_id", "time_start", "time_end", "split"))
    for clip in clips:
        video, start, end = Path(clip.path).stem.split("_")
        rows.writerow((clip.kind.name, video, int(start), int(end), split))
    names = "".join(f"{name}\n" for name in sorted(kind.name for kind in K400))
    return {"annotations/kinetics_label_map_k400.txt": names, f"annotations/{split}.csv": text.getvalue()}


# UCF-101: avi files named by class, group and clip; three splits that keep a group together.

_SHORT = {
    " ".join(_VERBS.get(action, "") + action for action in actions): actions
    for actions in (*((action,) for action in _TEMPLATES), *PAIRS[:2], *PAIRS[4:6])
}
UCF101 = tuple(
    LabelledClass(name=name, actions=actions)
    for name, actions in sorted((words.title().replace(" ", ""), actions) for words, actions in _SHORT.items())
)
"""12 classes: 8 actions and two pairs in both orders, in CamelCase."""


def _ucf_clips(world: World) -> list[ScriptedClip]:
    return [
        ScriptedClip(
            path=f"UCF-101/{kind.name}/v_{kind.name}_g{group:02d}_c{number:02d}.avi",
            kind=kind,
            source=f"{kind.name}/g{group}",
        )
        for kind in UCF101
        for group in range(1, world.ucf_groups + 1)
        for number in range(1, world.ucf_clips + 1)
    ]


def _ucf_lists(world: World, clips: Sequence[ScriptedClip]) -> Lists:
    numbers = {kind.name: index for index, kind in enumerate(UCF101, 1)}
    lists = {"ucfTrainTestlist/classInd.txt": "".join(f"{number} {name}\n" for name, number in numbers.items())}
    tested = max(world.ucf_groups * 7 // 25, 1)  # groups 1-7, 8-14 and 15-21 of the official 25
    for fold in (1, 2, 3):
        held_out = range((fold - 1) * tested + 1, fold * tested + 1)
        train, test = [], []
        for clip in clips:
            name = clip.path.removeprefix("UCF-101/")
            if int(name.rpartition("_g")[2].partition("_")[0]) in held_out:
                test.append(f"{name}\n")
            else:
                train.append(f"{name} {numbers[clip.kind.name]}\n")
        lists[f"ucfTrainTestlist/trainlist{fold:02d}.txt"] = "".join(train)
        lists[f"ucfTrainTestlist/testlist{fold:02d}.txt"] = "".join(test)
    return lists


# HMDB-51: avi files cut from films; for each class and split a list with 1 (train), 2 (test) and 0 (neither).

HMDB51 = tuple(
    LabelledClass(name=name, actions=actions)
    for name, actions in sorted((words.replace(" ", "_"), actions) for words, actions in _SHORT.items())
)
"""The same 12, in snake_case."""


def _hmdb_clips(world: World) -> list[ScriptedClip]:
    return [
        ScriptedClip(path=f"{kind.name}/Film_{film:03d}_{kind.name}_f_nm_np1_fr_med_0.avi", kind=kind)
        for kind in HMDB51
        for film in range(world.hmdb_clips)
    ]


def _hmdb_lists(world: World, clips: Sequence[ScriptedClip]) -> Lists:
    tested, trained = world.hmdb_clips * 30 // 104, world.hmdb_clips * 70 // 104
    flags = [2] * tested + [1] * trained + [0] * (world.hmdb_clips - tested - trained)
    lists = {}
    for kind in HMDB51:
        names = [Path(clip.path).name for clip in clips if clip.kind == kind]
        for fold in (1, 2, 3):
            # The test films of each split come first, so that the three test sets have none in common.
            skipped = len(names) - (fold - 1) * tested
            turned = flags[skipped:] + flags[:skipped]
            text = "".join(f"{name} {flag} \n" for name, flag in zip(names, turned, strict=True))
            lists[f"testTrainMulti_7030_splits/{kind.name}_test_split{fold}.txt"] = text
    return lists


LAYOUTS: Mapping[str, Layout] = {
    **{
        f"ssv2-{split}": Layout(
            folder="ssv2",
            classes=SSV2,
            clips=partial(_ssv2_clips, split=split),
            lists=partial(_ssv2_lists, file="validation" if split == "val" else split),
        )
        for split in ("train", "val")
    },
    **{
        f"k400-{split}": Layout(
            folder="k400",
            classes=K400,
            clips=partial(_k400_clips, split=split),
            lists=partial(_k400_lists, split=split),
        )
        for split in ("train", "val")
    },
    "ucf101": Layout(folder="ucf101", classes=UCF101, clips=_ucf_clips, lists=_ucf_lists),
    "hmdb51": Layout(folder="hmdb51", classes=HMDB51, clips=_hmdb_clips, lists=_hmdb_lists),
}
"""The labelled parts, by name."""
