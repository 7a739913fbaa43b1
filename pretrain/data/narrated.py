"""Narrated video on disk: what each layout lists, and whether a video can be trained on.

`yt_temporal`, the tree that TVTS's code reads; the list is optional, as is its folder `meta_data`:

    ROOT/meta_data/yttemporal_train.csv            a header `Name`, then lines such as subset_87/data/ID.mp4
    ROOT/videos/subset_87/data/ID.mp4
    ROOT/videos/subset_87/annotations/ID.json

`folder`, videos with their transcripts beside them, in any sub-folders:

    ROOT/a.mp4  ROOT/a.json                        YT-Temporal's or Whisper's JSON
    ROOT/b.mkv  ROOT/b.en.vtt  ROOT/b.srt          with a language in the name or without
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pretrain.data.alignment import spoken_words
from pretrain.data.index import Checked, Entry, unreadable
from pretrain.data.json_transcripts import read_json
from pretrain.data.segments import SegmentConfig, usable, words_inside
from pretrain.data.subtitles import read_subtitles
from pretrain.data.transcripts import Transcript, TranscriptError, Word
from pretrain.data.window import video_duration
from tvts_bench.datasets.base import AnnotationError, DatasetError
from tvts_bench.datasets.files import VideoTree, is_video_name, scan, stem, walk_videos
from tvts_bench.datasets.lines import read_lines
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
        reason = usable(inside, duration, self.segments)
        if reason is not None:
            what = f"{reason}: {entry.path} ({duration:.1f} s, {len(inside)} words inside)"
            return Checked(id=entry.id, entry=None, reason=what, events=events, flaws=transcript.flaws)
        used = replace(entry, duration=duration)
        return Checked(id=entry.id, entry=used, events=events, flaws=transcript.flaws)


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
        found = beside[str(Path(video).parent)].get(name, ())
        transcript = min(found, key=functools.partial(_rank, name=name), default=None)
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
        places = (shard / "annotations" / transcript, videos / Path(name).with_suffix(".json"))
        yield Entry(
            id=name,
            path=videos / name,
            transcript=next((place for place in places if os.path.isfile(place)), places[0]),  # noqa: PTH113 - False for too long a name,
        )


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
