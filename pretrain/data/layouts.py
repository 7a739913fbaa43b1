"""What each layout on disk lists, narrated or captioned, and whether a video or a caption can be trained on.

`yt_temporal`, the tree that TVTS's code reads; the list is optional, as is its folder `meta_data`:

    ROOT/meta_data/yttemporal_train.csv            a header `Name`, then lines such as subset_87/data/ID.mp4
    ROOT/videos/subset_87/data/ID.mp4
    ROOT/videos/subset_87/annotations/ID.json

`folder`, videos with their transcripts beside them, in any sub-folders:

    ROOT/a.mp4  ROOT/a.json                        YT-Temporal's or Whisper's JSON
    ROOT/b.mkv  ROOT/b.en.vtt  ROOT/b.srt          with a language in the name or without

`cc3m`, either of the two layouts that downloads have:

    ROOT/meta_data/cc3m_train.tsv                  caption <tab> image file; a header is skipped. TVTS's code reads this
    ROOT/training/00000.jpg                        images below ROOT, ROOT/training or ROOT/validation

    ROOT/00000/000000007.jpg                       img2dataset with `output_format=files`
    ROOT/00000/000000007.txt                       the caption of the image of that name

`webvid`, the official list and folders:

    ROOT/results_2M_train.csv                      videoid,contentUrl,duration,page_dir,name: the name is the caption
    ROOT/videos/PAGE_DIR/VIDEOID.mp4               or ROOT/PAGE_DIR/VIDEOID.mp4

A caption is one transcript of the whole clip: it takes part in the alignment of video and text, never in sorting.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretrain.data.clip_sampling import SegmentConfig, usable, words_inside
from pretrain.data.index import Checked, Entry, unreadable
from pretrain.data.json_transcripts import read_json
from pretrain.data.subtitles import read_subtitles
from pretrain.data.timestamp_decoder import video_duration
from pretrain.data.transcripts import Transcript, TranscriptError, Word, read_text, spoken_words
from tvts_bench.datasets.base import AnnotationError, DatasetError
from tvts_bench.datasets.files import VideoTree, is_video_name, scan, stem, walk_videos
from tvts_bench.datasets.lines import read_lines, read_table
from tvts_bench.snapshot import FileSignature, signature
from tvts_bench.video.packet_index import VideoDecodeError

SUFFIXES = (".json", ".vtt", ".srt")
"""Of transcripts, the preferred first: JSON has word times, SRT never."""

_NOT_TRANSCRIPTS = (".info.json", ".live_chat.json")  # what yt-dlp writes beside a video
_REMEMBERED = 1024  # transcripts kept by a loading process

WORDS_PAST_END = "words past the end of the video"
FLAWED = "transcripts with parts that cannot be read"


def read_transcript(path: Path) -> Transcript:
    """The transcript in a `.json`, `.vtt` or `.srt` file.

    Raises:
        TranscriptError: it cannot be read, with the line where there is one.
    """
    return _narration(path)[0]


def _narration(path: Path) -> tuple[Transcript, tuple[Word, ...]]:
    """A transcript, and its words: denoised and aligned where there is denoised text.

    Whatever a file makes its parser raise, only that file is lost, not the run that reads a million of them.
    """
    try:
        transcript = read_json(path) if path.suffix.lower() == ".json" else read_subtitles(path)
        return transcript, spoken_words(transcript)
    except TranscriptError:
        raise
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError) as error:
        raise TranscriptError(path, None, f"not a transcript: {str(error) or type(error).__name__}") from error


def words_of(transcript: Path, duration: float) -> tuple[Word, ...]:
    """The words to train on, none past the end of the video."""
    return _words_of(transcript, duration, signature(transcript))


@functools.lru_cache(maxsize=_REMEMBERED)
def _words_of(transcript: Path, duration: float, file: FileSignature | None) -> tuple[Word, ...]:
    """Remembered for a file as it is: `file` tells it from another under its name."""
    return words_inside(_narration(transcript)[1], duration)


@dataclass(frozen=True, kw_only=True)
class Check:
    """Whether a video can be trained on: its transcript and header are read, nothing is decoded."""

    segments: SegmentConfig

    def __call__(self, entry: Entry) -> Checked:
        """The entry with its duration, or why it is left out."""
        if entry.transcript is None:
            return Checked(id=entry.id, entry=None, reason=f"no transcript: {entry.path} has none beside it")
        try:
            duration = video_duration(entry.path)
            transcript, words = _narration(entry.transcript)
        except (VideoDecodeError, TranscriptError) as error:
            kind = "transcript" if isinstance(error, TranscriptError) else "video"
            return unreadable(entry, f"unreadable {kind}", error)
        inside = words_inside(words, duration)
        events = {WORDS_PAST_END: len(words) - len(inside), FLAWED: int(bool(transcript.flaws))}
        events = {name: count for name, count in events.items() if count}
        checked = Checked(id=entry.id, entry=replace(entry, duration=duration), events=events, flaws=transcript.flaws)
        reason = usable(inside, duration, self.segments)
        if reason is None:
            return checked
        what = f"{reason}: {entry.path} ({duration:.1f} s, {len(inside)} words inside)"
        return replace(checked, entry=None, reason=what)


def list_folder(root: Path) -> list[Entry]:
    """Every video below `root` with the transcript beside it, None where there is none.

    Raises:
        DatasetError: no such folder, or no video in it.
    """
    _require_folder(root)
    videos = walk_videos(root)
    if not videos:
        raise DatasetError(f"no video found below {root}")
    beside = {folder: _sidecars(root / folder) for folder in {str(Path(video).parent) for video in videos}}
    entries = []
    for video in videos:
        name = stem(video)
        transcripts = beside[str(Path(video).parent)].get(name, ())
        transcript = min(transcripts, key=functools.partial(_rank, name=name), default=None)
        entries.append(Entry(id=video, path=root / video, transcript=transcript))
    return entries


def list_yt_temporal(root: Path, annotations: Path | None, split: str) -> list[Entry]:
    """The videos that a list names, or, without one, every annotation below `root` with the video of its name.

    Args:
        root: the tree shown above.
        annotations: a list of names in place of `meta_data/yttemporal_SPLIT.csv`, or a folder of JSON files.
        split: "train" or "val".

    Raises:
        DatasetError: no such folder or file, or nothing in it.
    """
    _require_folder(root)
    names = annotations or root / "meta_data" / f"yttemporal_{split}.csv"
    if names.is_file():
        if names.suffix.lower() in (".json", ".jsonl", ".gz"):
            raise DatasetError(f"{names} is not a list of video names; give a list, or a folder of one JSON a video")
        entries = list(_named(root, names))
    elif annotations is not None and not annotations.is_dir():
        raise DatasetError(f"annotations {annotations} do not exist; give a list of video names or a folder of JSON")
    else:
        entries = list(_annotated(root, annotations or root))
    if not entries:
        raise DatasetError(f"{names if names.is_file() else annotations or root} lists no narrated video")
    return entries


def _named(root: Path, names: Path) -> Iterator[Entry]:
    videos = root / "videos" if (root / "videos").is_dir() else root
    for number, line in read_lines(names):
        name = line.split("\t")[0].strip().strip('"')
        if number == 1 and name.lower() == "name":
            continue
        if not is_video_name(name):
            raise AnnotationError(names, number, f"expected the name of a video such as subset_0/data/ID.mp4: {name!r}")
        shard = videos / Path(name).parts[0]
        transcript = f"{Path(name).stem}.json"
        paths = (shard / "annotations" / transcript, videos / Path(name).with_suffix(".json"))
        there = next((path for path in paths if os.path.isfile(path)), paths[0])  # noqa: PTH113 - False for too long a name
        yield Entry(id=name, path=videos / name, transcript=there)


def _annotated(root: Path, annotations: Path) -> Iterator[Entry]:
    tree = VideoTree(root=root)
    for path in sorted(annotations.rglob("*.json")):
        if path.name.endswith(_NOT_TRANSCRIPTS) or (annotations == root and path.parent.name != "annotations"):
            continue
        video = tree.find(path.stem)
        yield Entry(id=path.stem, path=video or root / f"{path.stem}.mp4", transcript=path)


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}; give the folder that holds the narrated videos as root")


def _sidecars(folder: Path) -> dict[str, list[Path]]:
    """Transcripts in `folder` by every name that a video of theirs may have: `a.en.vtt` belongs to `a` and `a.en`."""
    by_name: dict[str, list[Path]] = {}
    for entry in scan(folder):
        if not entry.name.lower().endswith(SUFFIXES) or entry.name.lower().endswith(_NOT_TRANSCRIPTS):
            continue
        parts = entry.name.split(".")
        for end in range(1, len(parts)):
            by_name.setdefault(".".join(parts[:end]), []).append(folder / entry.name)
    return by_name


def _rank(path: Path, name: str) -> tuple[int, int, str]:
    """JSON before VTT before SRT; no language before English before any other."""
    language = path.stem.removeprefix(name).strip(".").lower()
    return SUFFIXES.index(path.suffix.lower()), 0 if not language else 1 if language.startswith("en") else 2, path.name


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
