"""Something-Something V2: 220,847 clips of people acting on things; 174 classes told apart by motion."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tvts_bench.datasets import files, label_lists, lines
from tvts_bench.datasets.base import (
    AnnotationError,
    Dataset,
    DatasetError,
    DatasetInfo,
    LoadOptions,
    SplitUnavailableError,
    VideoRecord,
)
from tvts_bench.runtime import Progress

INFO = DatasetInfo(
    title="Something-Something V2",
    splits=("train", "val", "test"),
    default_split="val",
    num_classes=174,
    official_sizes={"train": (168_913,), "val": (24_777, 24_776), "test": (27_157,)},
    url="https://www.qualcomm.com/developer/software/something-something-v-2-dataset",
    license="research use only, after registration (Qualcomm's data licence agreement)",
    layout="20bn-something-something-v2/*.webm, and the label JSON files beside it or in labels/",
    notes="The widely used `path label` list of val lacks one clip (201535) of the official 24,777. "
    "The test split needs test-answers.csv, which comes with Qualcomm's download.",
)

VIDEO_FOLDERS = ("20bn-something-something-v2", "videos")
LIST_FOLDERS = ("labels", "annotations", "something-something-v2-labels")
LABEL_FILES = ("something-something-v2-labels.json", "labels.json")
NAME_FILES = ("sthv2_label_map.txt", "label_map.txt", "classes.txt")
# Both name sets of the JSON files, then the `path label` lists in circulation.
LISTS = {
    "train": ("something-something-v2-train.json", "train.json", "sthv2_train_list_videos.txt", "train.csv"),
    "val": ("something-something-v2-validation.json", "validation.json", "sthv2_val_list_videos.txt", "val.csv"),
    "test": ("something-something-v2-test.json", "test.json", "test.csv"),
}
ANSWERS = ("something-something-v2-test-answers.csv", "test-answers.csv")


def load(root: Path, options: LoadOptions, progress: Progress) -> Dataset:
    """Read the official JSON files, or `path label` lists; ids are clip numbers ("74225") either way.

    Args:
        root: the folder that holds the data set.
        options: what else the user gave.
        progress: shows nothing here, since lists are read in a moment.

    Raises:
        DatasetError: there is no list.
        AnnotationError: the labels are not a mapping from templates to 0..n-1.
    """
    options.refuse("ssv2", "fold", "variant")
    folders = files.list_folders(root, options, LIST_FOLDERS)
    lists = folders.lists(LISTS, INFO.default_split)
    if not lists:
        names = " or ".join(LISTS["val"])
        raise DatasetError(f"no list of ssv2 in {folders.described}; expected {names}, or say --annotations FILE")
    classes = _classes(folders)
    if classes is None and any(path.suffix == ".json" for path in lists.values()):
        raise DatasetError(f"no class list of ssv2 in {folders.described}; expected {' or '.join(LABEL_FILES)}")
    class_names = tuple(classes or (str(index) for index in range(INFO.num_classes or 0)))
    tree = files.VideoTree(root=files.video_folder(root, VIDEO_FOLDERS))
    answers = folders.find(ANSWERS)
    readers = {split: partial(_read, path, split, class_names, tree, answers) for split, path in lists.items()}
    return Dataset(name="ssv2", root=root, class_names=class_names, info=INFO.of_splits(lists), readers=readers)


def _classes(folders: files.ListFolders) -> Mapping[str, int] | None:
    """Class names in the order of their indices, or None where no class list is there."""
    path = folders.find(LABEL_FILES)
    if path is None:
        name_file = folders.find(NAME_FILES)
        return {name: index for index, name in enumerate(lines.read_names(name_file))} if name_file else None
    labels = lines.read_json(path)
    if not isinstance(labels, dict) or not labels:
        raise AnnotationError(path, 1, "expected an object that maps each class to its index")
    ordered = sorted((str(index), name) for name, index in labels.items())
    if sorted(index for index, _ in ordered) != sorted(str(index) for index in range(len(labels))):
        raise AnnotationError(path, 1, f"the indices of the {len(labels)} classes are not 0 to {len(labels) - 1}")
    return {name: int(index) for index, name in sorted(ordered, key=lambda pair: int(pair[0]))}


def _read(
    path: Path, split: str, names: Sequence[str], tree: files.VideoTree, answers: Path | None
) -> list[VideoRecord]:
    classes = {name: index for index, name in enumerate(names)}
    if path.suffix != ".json":
        entries = [
            files.ListedVideo(
                id=files.stem(row.path),
                names=(row.path,),
                label=lines.checked_index(row.label, len(names), path, row.line),
            )
            for row in label_lists.read_rows(path, split)
        ]
    elif split == "test":
        if answers is None:
            raise SplitUnavailableError(
                f"the test split of ssv2 has no labels ({path} lists ids only); put {ANSWERS[-1]} beside it or use val"
            )
        entries = _read_answers(answers, classes)
    else:
        entries = _read_json(path, classes)
    return files.locate(entries, tree, listed_in=path, classes=names)


def _read_json(path: Path, classes: Mapping[str, int]) -> list[files.ListedVideo]:
    """Entries of the official JSON: a template such as "Putting [something] on a surface" names the class."""
    items = lines.read_json(path)
    if not isinstance(items, list):
        raise AnnotationError(path, 1, "expected an array of objects with id and template")
    entries = []
    for index, item in enumerate(items):
        name = _template(item)
        if name not in classes:
            line = lines.json_entry_line(path, index)
            if name is None:
                raise AnnotationError(path, line, "expected an object with an id and a template")
            lines.index_of_class(name, classes, path, line)
        entries.append(files.ListedVideo(id=str(item["id"]), names=(f"{item['id']}.webm",), label=classes[str(name)]))
    return entries


def _template(item: Any) -> str | None:
    """The class an entry names, brackets removed; None for anything that is no entry."""
    if not isinstance(item, dict) or not isinstance(item.get("template"), str) or not item.get("id"):
        return None
    if not str(item["id"]).isprintable():  # half a surrogate or a zero byte, which no file name can hold
        return None
    return re.sub(r"[\[\]]", "", item["template"])


def _read_answers(path: Path, classes: Mapping[str, int]) -> list[files.ListedVideo]:
    """Entries of test-answers.csv, `id;class` a line."""
    entries = []
    for number, text in lines.read_lines(path):
        clip, separator, name = (part.strip() for part in text.partition(";"))
        if not separator or not clip:
            raise AnnotationError(path, number, f"expected `id;class`, got {text!r}")
        label = lines.index_of_class(re.sub(r"[\[\]]", "", name), classes, path, number)
        entries.append(files.ListedVideo(id=clip, names=(f"{clip}.webm",), label=label))
    return entries
