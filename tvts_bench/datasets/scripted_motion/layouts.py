"""The official trees: which clips a part of the world holds, and the lists that go with them.

A list is written after the last of its clips, so a tree never lists a file that is not there.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tvts_bench.datasets.scripted_motion import labels
from tvts_bench.datasets.scripted_motion.clips import Clip, take
from tvts_bench.datasets.scripted_motion.draws import Draws
from tvts_bench.datasets.scripted_motion.sprites import DIGIT_WORDS
from tvts_bench.datasets.scripted_motion.world import World

Lists = dict[str, str]
"""Relative path -> text."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A part of the world in the layout of one data set: pure functions of the world."""

    folder: str
    classes: tuple[labels.LabelledClass, ...]
    clips: Callable[[World], list[Clip]]
    lists: Callable[[World, Sequence[Clip]], Lists]


def _balanced(
    world: World, part: str, count: int, classes: Sequence[labels.LabelledClass]
) -> list[labels.LabelledClass]:
    """`count` classes in random order, each as often as the others or once more."""
    return Draws(world.seed, part).shuffled([classes[index % len(classes)] for index in range(count)])


def _clip(path: str, kind: labels.LabelledClass, *, held_out: bool = False, source: str | None = None) -> Clip:
    return Clip(
        path=path,
        label=kind.name,
        actions=kind.actions,
        held_out=held_out,
        digit=kind.digit,
        ground=kind.ground,
        source=source,
    )


# Something-Something V2: numbered webm files, JSON lists with a template and what it was filled with.


def _ssv2_clips(world: World, split: str) -> list[Clip]:
    held_out = split == "val"
    count, first = (world.ssv2_val, 500_001) if held_out else (world.ssv2_train, 1)
    kinds = _balanced(world, f"ssv2-{split}", count, labels.SSV2)
    return [
        _clip(f"20bn-something-something-v2/{first + index}.webm", kind, held_out=held_out)
        for index, kind in enumerate(kinds)
    ]


def _ssv2_lists(world: World, split: str, clips: Sequence[Clip]) -> Lists:
    entries = []
    for clip in clips:
        subject = take(world, clip).subject
        thing, template = f"{subject.colour} {DIGIT_WORDS[subject.digit]}", labels.template(clip.actions)
        entry = {
            "id": Path(clip.path).stem,
            "label": template.replace("[something]", thing).lower(),
            "template": template,
            "placeholders": [thing],
        }
        entries.append(entry)
    names = {name: str(index) for index, name in enumerate(sorted(kind.name for kind in labels.SSV2))}
    file = "validation" if split == "val" else split
    return {
        "something-something-v2-labels.json": json.dumps(names, indent=1),
        f"something-something-v2-{file}.json": "[\n" + ",\n".join(map(json.dumps, entries)) + "\n]\n",
    }


# Kinetics-400: one folder of mp4 files a split, named by video and time, and a csv.


def _k400_clips(world: World, split: str) -> list[Clip]:
    count = world.k400_val if split == "val" else world.k400_train
    clips = []
    for index, kind in enumerate(_balanced(world, f"k400-{split}", count, labels.K400)):
        start = Draws(world.seed, f"k400-{split}-{index}").below(300)
        name = f"{split[0].upper()}sm{index:08d}_{start:06d}_{start + 10:06d}.mp4"
        clips.append(_clip(f"{split}/{name}", kind, held_out=split == "val"))
    return clips


def _k400_lists(world: World, split: str, clips: Sequence[Clip]) -> Lists:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("label", "youtube_id", "time_start", "time_end", "split"))
    for clip in clips:
        video, start, end = Path(clip.path).stem.split("_")
        rows.writerow((clip.label, video, int(start), int(end), split))
    names = "".join(f"{name}\n" for name in sorted(kind.name for kind in labels.K400))
    return {"annotations/kinetics_label_map_k400.txt": names, f"annotations/{split}.csv": text.getvalue()}


# UCF-101: avi files named by class, group and clip; three splits that keep a group together.


def _ucf_clips(world: World) -> list[Clip]:
    return [
        _clip(f"UCF-101/{kind.name}/v_{kind.name}_g{group:02d}_c{number:02d}.avi", kind, source=f"{kind.name}/g{group}")
        for kind in labels.UCF101
        for group in range(1, world.ucf_groups + 1)
        for number in range(1, world.ucf_clips + 1)
    ]


def _ucf_lists(world: World, clips: Sequence[Clip]) -> Lists:
    numbers = {kind.name: index for index, kind in enumerate(labels.UCF101, 1)}
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
                train.append(f"{name} {numbers[clip.label]}\n")
        lists[f"ucfTrainTestlist/trainlist{fold:02d}.txt"] = "".join(train)
        lists[f"ucfTrainTestlist/testlist{fold:02d}.txt"] = "".join(test)
    return lists


# HMDB-51: avi files cut from films; for each class and split a list with 1 (train), 2 (test) and 0 (neither).


def _hmdb_clips(world: World) -> list[Clip]:
    return [
        _clip(f"{kind.name}/Film_{film:03d}_{kind.name}_f_nm_np1_fr_med_0.avi", kind)
        for kind in labels.HMDB51
        for film in range(world.hmdb_clips)
    ]


def _hmdb_lists(world: World, clips: Sequence[Clip]) -> Lists:
    tested = world.hmdb_clips * 30 // 104
    trained = world.hmdb_clips * 70 // 104
    lists = {}
    for kind in labels.HMDB51:
        names = [Path(clip.path).name for clip in clips if clip.label == kind.name]
        for fold in (1, 2, 3):
            # The test films of each split come first, so that the three test sets have none in common.
            turned = names[(fold - 1) * tested :] + names[: (fold - 1) * tested]
            flags = {
                name: 2 if rank < tested else 1 if rank < tested + trained else 0 for rank, name in enumerate(turned)
            }
            text = "".join(f"{name} {flags[name]} \n" for name in names)
            lists[f"testTrainMulti_7030_splits/{kind.name}_test_split{fold}.txt"] = text
    return lists


LAYOUTS: Mapping[str, Layout] = {
    "ssv2-train": Layout(
        folder="ssv2",
        classes=labels.SSV2,
        clips=lambda world: _ssv2_clips(world, "train"),
        lists=lambda world, clips: _ssv2_lists(world, "train", clips),
    ),
    "ssv2-val": Layout(
        folder="ssv2",
        classes=labels.SSV2,
        clips=lambda world: _ssv2_clips(world, "val"),
        lists=lambda world, clips: _ssv2_lists(world, "val", clips),
    ),
    "k400-train": Layout(
        folder="k400",
        classes=labels.K400,
        clips=lambda world: _k400_clips(world, "train"),
        lists=lambda world, clips: _k400_lists(world, "train", clips),
    ),
    "k400-val": Layout(
        folder="k400",
        classes=labels.K400,
        clips=lambda world: _k400_clips(world, "val"),
        lists=lambda world, clips: _k400_lists(world, "val", clips),
    ),
    "ucf101": Layout(folder="ucf101", classes=labels.UCF101, clips=_ucf_clips, lists=_ucf_lists),
    "hmdb51": Layout(folder="hmdb51", classes=labels.HMDB51, clips=_hmdb_clips, lists=_hmdb_lists),
}
"""The labelled parts, by name."""
