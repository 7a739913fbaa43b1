"""Captioned images and clips for joint post-pretraining: CC3M and WebVid-2M.

`cc3m`, either of the two layouts that downloads have:

    ROOT/meta_data/cc3m_train.tsv        caption <tab> image file; a header is skipped. TVTS's code reads this
    ROOT/training/00000.jpg              images below ROOT, ROOT/training or ROOT/validation

    ROOT/00000/000000007.jpg             img2dataset with `output_format=files`: the caption in a .txt of the same name
    ROOT/00000/000000007.txt

`webvid`, the official list and folders:

    ROOT/results_2M_train.csv            videoid,contentUrl,duration,page_dir,name: the name is the caption
    ROOT/videos/PAGE_DIR/VIDEOID.mp4     or ROOT/PAGE_DIR/VIDEOID.mp4

A caption is one transcript of the whole clip: it takes part in the alignment of video and text, never in sorting.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretrain.data.index import Checked, Entry, unreadable
from pretrain.data.transcripts import TranscriptError, read_text
from tvts_bench.datasets.base import AnnotationError, DatasetError
from tvts_bench.datasets.lines import read_lines, read_table
from tvts_bench.video.packet_index import VideoDecodeError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_SPLIT_FOLDERS = {"train": "training", "val": "validation"}  # of CC3M


def check_caption(entry: Entry) -> Checked:
    """Whether the file is there and the caption has a word; files are too many to open each one before training.

    A caption in a file of its own is read here.
    """
    if entry.transcript is not None:
        try:
            entry = replace(entry, caption=read_text(entry.transcript).strip(), transcript=None)  # it has no times
        except TranscriptError as error:
            return unreadable(entry, "unreadable caption", error)
    if not any(character.isalnum() for character in entry.caption):
        return Checked(id=entry.id, entry=None, reason=f"no words: the caption of {entry.path} is {entry.caption!r}")
    if not os.path.isfile(entry.path):  # noqa: PTH113 - False for too long a name
        return Checked(id=entry.id, entry=None, reason=f"missing file: there is no {entry.path}", unreadable=True)
    return Checked(id=entry.id, entry=entry)


def read_image(path: Path) -> NDArray[np.uint8]:
    """An image file as uint8 RGB [H, W, 3], upright.

    Raises:
        VideoDecodeError: it cannot be read.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise VideoDecodeError(path, f"it is not a readable image ({error})") from error


def list_cc3m(root: Path, annotations: Path | None, split: str) -> list[Entry]:
    """Images and their captions.

    Args:
        root: either of the layouts shown above.
        annotations: a TSV in place of `meta_data/cc3m_SPLIT.tsv`.
        split: "train" or "val".

    Raises:
        DatasetError: nothing of either layout is there.
        AnnotationError: a line without two fields, with its number.
    """
    table = annotations or root / "meta_data" / f"cc3m_{split}.tsv"
    if table.is_file():
        entries = list(_cc3m_rows(root, table, split))
    elif annotations is not None:
        raise DatasetError(f"annotations {annotations} do not exist; give a TSV of caption and image file")
    else:
        entries = list(_beside_captions(root))
    if not entries:
        raise DatasetError(
            f"{root} holds no captioned images: neither meta_data/cc3m_{split}.tsv (caption <tab> image file) "
            "nor folders of .jpg and .txt as img2dataset writes with output_format=files"
        )
    return entries


def list_webvid(root: Path, annotations: Path | None, split: str) -> list[Entry]:
    """Clips and their captions.

    Args:
        root: the layout shown above.
        annotations: a CSV in place of `results_2M_SPLIT.csv`.
        split: "train" or "val".

    Raises:
        DatasetError: no list.
        AnnotationError: a malformed line, with its number.
    """
    table = annotations or root / f"results_2M_{split}.csv"
    if not table.is_file():
        raise DatasetError(f"there is no WebVid list {table}; give results_2M_{split}.csv as annotations")
    videos = root / "videos" if (root / "videos").is_dir() else root
    entries = []
    for _, row in read_table(table, ("videoid", "page_dir", "name")):
        name = f"{row['page_dir']}/{row['videoid']}"
        entries.append(Entry(id=name, path=videos / f"{name}.mp4", caption=row["name"]))
    if not entries:
        raise DatasetError(f"{table} lists no clip")
    return entries


def _cc3m_rows(root: Path, table: Path, split: str) -> Iterator[Entry]:
    folders = [root, root / _SPLIT_FOLDERS.get(split, split)]
    for number, line in read_lines(table):
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) != 2 or fields[1].startswith(("http://", "https://")):
            problem = f"expected a caption, a tab and an image file, got {line[:80]!r}"
            raise AnnotationError(table, number, f"{problem}; download the images of Google's list first")
        caption, name = fields
        if number == 1 and Path(name).suffix.lower() not in IMAGE_SUFFIXES and "." not in name:
            continue  # the header
        path = next((folder / name for folder in folders if os.path.isfile(folder / name)), root / name)  # noqa: PTH113
        yield Entry(id=name, path=path, caption=caption)


def _beside_captions(root: Path) -> Iterator[Entry]:
    for text in sorted(root.glob("*/*.txt")):
        image = next((p for suffix in IMAGE_SUFFIXES if (p := text.with_suffix(suffix)).is_file()), None)
        relative = text.relative_to(root).with_suffix("")
        yield Entry(id=str(relative), path=image or text.with_suffix(".jpg"), transcript=text)
