"""Sources from files: what is listed, what is left out and why, and what one sample holds."""

import errno
import itertools
import json
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pretrain.data import transcripts
from pretrain.data.cropping import CropConfig
from pretrain.data.index import SourceIndexError
from pretrain.data.segments import SegmentConfig
from pretrain.data.sources import Source, SourceConfig, SourceConfigError, build_source
from tests.pretrain.narration_files import FPS, second_of, write_json, write_seconds, write_yt_tree, yt_temporal
from tvts_bench.datasets.base import AnnotationError, DatasetError
from tvts_bench.datasets.scripted_motion import World, make_world
from tvts_bench.video.packet_index import VideoDecodeError

SEGMENTS = SegmentConfig(segments=3, lengths=(2.0, 3.0), gap=1.0)  # spans of 8 and 11 s
CROP = CropConfig(size=16, short_side=20)


def build(root: Path, kind: str, tmp_path: Path, **fields: Any) -> Source:
    config = SourceConfig(kind=kind, root=root, **{"frames": 8, **fields})  # type: ignore[arg-type]
    return build_source(config, SEGMENTS, CROP, cache=tmp_path / "cache")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def yt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_yt_tree(tmp_path_factory.mktemp("yt"), [20, 25, 30])


def test_frames_and_words_of_a_sample_are_from_the_same_seconds(yt: Path, tmp_path: Path) -> None:
    source = build(yt, "yt_temporal", tmp_path)
    assert len(source) == 3
    for number in range(3):
        sample = source.sample(number, rng(number))
        assert sample.clip.shape == (3, 8, 16, 16)
        shown = second_of(sample.clip[0])
        assert (shown.diff() > -0.3).all()  # neighbours may show the same second
        said = [[float(word[1:]) for word in text.split()] for text in sample.texts]
        assert len(said) == 3
        assert all(np.diff(times) == pytest.approx(0.5) for times in said)
        # Frames cover the span of the words, and segments are a second apart.
        assert shown[0] == pytest.approx(said[0][0], abs=2.1)
        assert shown[-1] == pytest.approx(said[-1][-1], abs=2.6)
        assert [later[0] - earlier[-1] for earlier, later in itertools.pairwise(said)] == [1.5, 1.5]
        assert sample.texts[0][0] == "T"  # the denoised text, not the text as heard


def test_a_sample_is_a_function_of_its_generator(yt: Path, tmp_path: Path) -> None:
    source = build(yt, "yt_temporal", tmp_path)
    one, same, other = source.sample(1, rng(5)), source.sample(1, rng(5)), source.sample(1, rng(6))
    assert one.texts == same.texts
    assert (one.clip == same.clip).all()
    assert one.texts != other.texts
    centre = source.sample(1, rng(5), training=False)
    assert centre.texts == one.texts
    assert (centre.clip != one.clip).any()


def test_a_source_crosses_processes(yt: Path, tmp_path: Path) -> None:
    source = build(yt, "yt_temporal", tmp_path)
    data = pickle.dumps(source)
    assert len(data) < 3000
    assert (pickle.loads(data).sample(2, rng()).clip == source.sample(2, rng()).clip).all()  # noqa: S301


def test_annotations_are_found_without_a_list(tmp_path: Path) -> None:
    root = write_yt_tree(tmp_path / "yt", [20, 25])
    (root / "meta_data" / "yttemporal_train.csv").unlink()
    write_json(root / "notes.json", {"not": "an annotation"})
    assert [build(root, "yt_temporal", tmp_path).index[i].id for i in range(2)] == ["train0", "train1"]
    elsewhere = write_json(tmp_path / "json" / "train1.json", yt_temporal(20)).parent
    only = build(root, "yt_temporal", tmp_path, annotations=elsewhere)
    assert [only.index[i].transcript for i in range(len(only))] == [elsewhere / "train1.json"]


def test_a_malformed_list_names_its_line(tmp_path: Path) -> None:
    root = write_yt_tree(tmp_path / "yt", [20])
    (root / "meta_data" / "yttemporal_train.csv").write_text("Name\nsubset_0/data/train0.mp4\nsubset_0/what\n")
    with pytest.raises(AnnotationError, match=r"yttemporal_train\.csv, line 3: .*'subset_0/what'"):
        build(root, "yt_temporal", tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 20 s with every kind of sidecar, and of every kind of trouble."""
    root = tmp_path_factory.mktemp("folder")
    video = write_seconds(root / "json.mp4", 20).read_bytes()
    segments = [{"start": i, "end": i + 1, "text": f"word {i}"} for i in range(30)]  # 10 s past the end
    write_json(root / "json.json", {"segments": segments})
    vtt = "WEBVTT\n\n" + "\n\n".join(f"00:{i:02d}.000 --> 00:{i + 1:02d}.000\nsaid {i}" for i in range(20))
    for name, text in (
        ("sub/vtt.en.vtt", vtt),
        ("sub/vtt.de.vtt", "WEBVTT\n"),
        ("srt.srt", vtt.removeprefix("WEBVTT\n\n")),
        ("silent.vtt", "WEBVTT\n"),
        ("sparse.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nonce\n"),
        ("broken.vtt", "hello\n"),
        ("flawed.vtt", vtt + "\n\n00:xx --> 00:20.000\nnever\n"),
        ("short.vtt", vtt),
        ("damaged.vtt", vtt),
    ):
        stem = name.split(".")[0]
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
        (root / f"{stem}.mp4").write_bytes(video)
    write_json(root / "alone.info.json", {"title": "what yt-dlp writes"})
    (root / "alone.mp4").write_bytes(video)
    write_seconds(root / "short.mp4", 4)
    (root / "damaged.mp4").write_bytes(video[:100])
    return root


def test_a_folder_of_videos_with_transcripts_beside_them(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        source = build(folder, "folder", tmp_path, max_unreadable=0.5)
    assert [source.index[i].id for i in range(len(source))] == ["flawed.mp4", "json.mp4", "srt.mp4", "sub/vtt.mp4"]
    report = source.index.report
    assert (report.listed, report.used) == (10, 4)
    kinds = {video: reason.split(":")[0] for video, reason in report.excluded.items()}
    assert kinds == {
        "alone.mp4": "no transcript",
        "broken.mp4": "unreadable transcript",
        "damaged.mp4": "unreadable video",
        "short.mp4": "video too short",
        "silent.mp4": "no words",
        "sparse.mp4": "no start at which every segment has words",
    }
    assert "broken.vtt, line 1" in report.excluded["broken.mp4"]
    assert report.counts["unreadable"] == 2
    assert report.counts["words past the end of the video"] == 20 + 32  # of json.mp4 and of short.mp4
    assert report.counts["transcripts with parts that cannot be read"] == 1
    assert "4 of 10 samples can be used" in caplog.text
    assert str(source.index.path.with_suffix(".json")) in caplog.text
    assert all(text for i in range(4) for text in source.sample(i, rng(i)).texts)


def test_one_bad_caption_file_is_one_listed_file(tmp_path: Path) -> None:
    """What blocks, never ends, exhausts a parser or cannot be decoded loses its own video and no other."""
    root = tmp_path / "in"
    video = write_seconds(root / "good.mp4", 20).read_bytes()
    good = "WEBVTT\n\n" + "\n\n".join(f"00:{i:02d}.000 --> 00:{i + 1:02d}.000\nsaid {i}" for i in range(20))
    (root / "good.vtt").write_text(good)
    (root / "digits.vtt").write_text(f"{good} &#{'9' * 5000};")
    (root / "deep.json").write_text("[" * 100_000)
    (root / "local.vtt").write_bytes(good.replace("said", "сказано").encode("cp1251"))
    (root / "endless.vtt").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe.srt")
    reasons = {
        "deep.mp4": r"deep.json: not a transcript: nested too deeply",
        "digits.mp4": r"digits.vtt: not a transcript: Exceeds the limit",
        "endless.mp4": r"endless.vtt: it is not a file but a device",
        "local.mp4": r"local.vtt, line 4: not UTF-8; save it as UTF-8",
        "pipe.mp4": r"pipe.srt: it is not a file but a named pipe",
    }
    for name in reasons:
        (root / name).write_bytes(video)
    report = build(root, "folder", tmp_path, max_unreadable=1.0).index.report
    assert (report.listed, report.used, report.counts["unreadable transcript"]) == (6, 1, 5)
    for name, reason in reasons.items():
        assert reason in report.excluded[name]


def test_flaws_of_transcripts_that_are_used_are_listed(tmp_path: Path) -> None:
    root = tmp_path / "in"
    write_seconds(root / "a.mp4", 20)
    segments = [{"start": i, "end": i + 1, "text": f"word {i}"} for i in (*range(20), *range(5))]
    write_json(root / "a.json", {"segments": [*({"text": "no time"} for _ in range(5)), *segments]})
    report = build(root, "folder", tmp_path).index.report
    assert (report.used, report.counts) == (1, {"transcripts with parts that cannot be read": 1})
    assert report.flaws == {"a.mp4": [*(f"segment {i}: no 'start'" for i in range(3)), "and 3 more"]}


def test_a_file_that_could_not_be_read_for_the_moment_is_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_of_files(path: Path, most: int) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    with monkeypatch.context() as short:
        short.setattr(transcripts, "read_regular", short_of_files)
        with pytest.raises(SourceIndexError, match=r"none of the 10 samples .*too many open files"):
            build(folder, "folder", tmp_path, max_unreadable=1.0)
    healed = build(folder, "folder", tmp_path, max_unreadable=1.0)
    assert (len(healed), healed.index.report.transient) == (4, [])


def test_names_of_files_need_not_be_text(tmp_path: Path) -> None:
    root = tmp_path / "in"
    video = write_seconds(root / "a.mp4", 20)
    name = os.fsdecode(b"caf\xe9")
    video.rename(root / f"{name}.mp4")
    write_json(root / f"{name}.json", yt_temporal(20))
    source = build(root, "folder", tmp_path)
    assert (source.index[0].path, source.index[0].id) == (root / f"{name}.mp4", f"{name}.mp4")
    assert source.sample(0, rng()).texts


def test_too_many_unreadable_files_stop_the_run(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceIndexError, match=r"2 of 10 files cannot be read, more than the share 0\.1") as refused:
        build(folder, "folder", tmp_path, max_unreadable=0.1)
    assert "go on without them with data.sources.NUMBER.max_unreadable=SHARE" in str(refused.value)


def test_nothing_usable_is_an_error_that_says_why(tmp_path: Path) -> None:
    write_seconds(tmp_path / "in" / "a.mp4", 3)
    (tmp_path / "in" / "a.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:02.000\nhi\n")
    with pytest.raises(SourceIndexError, match=r"none of the 1 samples .*video too short: .*a\.mp4 \(3\.0 s"):
        build(tmp_path / "in", "folder", tmp_path)


def test_the_index_is_reused_until_a_file_changes(tmp_path: Path) -> None:
    root = write_yt_tree(tmp_path / "yt", [20, 25])
    first = build(root, "yt_temporal", tmp_path)
    written = first.index.path.stat().st_mtime_ns
    assert build(root, "yt_temporal", tmp_path).index.path.stat().st_mtime_ns == written
    annotation = root / "videos/subset_0/annotations/train0.json"
    before = annotation.stat()
    annotation.write_text(json.dumps({"subtitles": []}).ljust(before.st_size))  # of the same size, and as old
    os.utime(annotation, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = build(root, "yt_temporal", tmp_path)
    assert again.index.path != first.index.path
    assert len(again) == 1
    assert not list(again.index.path.parent.glob("*tmp*"))


def test_checking_in_processes_finds_the_same(tmp_path: Path) -> None:
    root = write_yt_tree(tmp_path / "yt", [20])
    video = root / "videos/subset_0/data/train0.mp4"
    for number in range(40):
        (video.parent / f"copy{number:02d}.mp4").write_bytes(video.read_bytes())
        write_json(video.parent.parent / "annotations" / f"copy{number:02d}.json", yt_temporal(20 if number % 2 else 0))
    (root / "meta_data" / "yttemporal_train.csv").unlink()
    config = SourceConfig(kind="yt_temporal", root=root, frames=8)
    one = build_source(config, SEGMENTS, CROP, cache=tmp_path / "one")
    two = build_source(config, SEGMENTS, CROP, cache=tmp_path / "two", workers=2)
    assert len(one) == 21
    assert one.index.path.read_bytes() == two.index.path.read_bytes()
    assert one.index.report == two.index.report


def test_cc3m_from_a_list_and_from_folders(tmp_path: Path) -> None:
    for number in range(3):
        path = tmp_path / "list" / "training" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30), (number * 50, 0, 0)).save(path)
        beside = tmp_path / "files" / "00000" / f"{number:09d}.jpg"
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(path.read_bytes())
        beside.with_suffix(".txt").write_text(f"caption {number}\n")
    (tmp_path / "list" / "meta_data").mkdir()
    lines = [
        "caption\tpath",
        *(f"caption {number}\t{number}.jpg" for number in range(3)),
        "gone\tgone.jpg",
        "...\t0.jpg",
    ]
    (tmp_path / "list" / "meta_data" / "cc3m_train.tsv").write_text("\n".join(lines))
    for layout in ("list", "files"):
        source = build(tmp_path / layout, "cc3m", tmp_path, frames=1, max_unreadable=0.5)
        assert len(source) == 3
        sample = source.sample(2, rng())
        assert sample.texts == ("caption 2",)
        assert sample.clip.shape == (3, 2, 16, 16)  # one frame, shown twice: the encoder's tubelets have two
        assert (sample.clip[:, 0] == sample.clip[:, 1]).all()
        assert abs(int(sample.clip[0, 0, 8, 8]) - 100) < 5
    counts = build(tmp_path / "list", "cc3m", tmp_path, frames=1, max_unreadable=0.5).index.report.counts
    assert counts == {"missing file": 1, "no words": 1, "unreadable": 1}


def test_captions_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "0").mkdir(exist_ok=True)
        (tmp_path / "0" / f"{name}.jpg").write_bytes(b"an image")
    (tmp_path / "0" / "a.txt").write_text("a cat")
    (tmp_path / "0" / "b.txt").write_bytes("кот".encode("cp1251"))
    os.mkfifo(tmp_path / "0" / "c.txt")
    report = build(tmp_path, "cc3m", tmp_path / "cache", frames=1, max_unreadable=1.0).index.report
    assert (report.used, report.counts) == (1, {"unreadable caption": 2, "unreadable": 2})
    assert "b.txt, line 1: not UTF-8" in report.excluded["0/b"]
    assert "it is not a file but a named pipe" in report.excluded["0/c"]


def test_a_cc3m_list_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a cat\thttp://example.org/cat.jpg\n")
    with pytest.raises(AnnotationError, match=r"a\.tsv, line 1: .*download the images"):
        build(tmp_path, "cc3m", tmp_path, frames=1, annotations=tmp_path / "a.tsv")


def test_an_unreadable_image_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "a.jpg").write_bytes(b"not an image")
    (tmp_path / "0" / "a.txt").write_text("a cat")
    with pytest.raises(VideoDecodeError, match=r"a\.jpg: it is not a readable image"):
        build(tmp_path, "cc3m", tmp_path, frames=1).sample(0, rng())


def test_webvid(tmp_path: Path) -> None:
    write_seconds(tmp_path / "videos" / "000001_000050" / "77.mp4", 8)
    rows = 'videoid,contentUrl,duration,page_dir,name\n77,https://x,PT00H00M08S,000001_000050,"Red, and blue"\n'
    (tmp_path / "results_2M_train.csv").write_text(rows)
    source = build(tmp_path, "webvid", tmp_path, frames=4)
    sample = source.sample(0, rng(), training=False)
    assert sample.texts == ("Red, and blue",)
    assert sample.clip.shape == (3, 4, 16, 16)
    assert second_of(sample.clip[0]).numpy() == pytest.approx([1, 3, 5, 7], abs=1 / FPS + 0.3)


def test_the_embedded_world_is_read_as_it_is_written(tmp_path: Path) -> None:
    world = World(narrated_train=3, narrated_val=2, narrated_shortest=30, narrated_longest=32, chatter_share=100)
    make_world(tmp_path / "world", world, parts=("narrated-train",), workers=1)
    config = SourceConfig(kind="scripted_motion", root=tmp_path / "world")
    source = build_source(config, SegmentConfig(), CROP, cache=tmp_path / "cache")
    assert len(source) == 3
    assert source.index.report.counts == {}
    sample = source.sample(0, rng())
    assert sample.clip.shape == (3, 16, 16, 16)
    assert all(sample.texts)
    assert any(text[0].isupper() or "." in text for text in sample.texts)  # cleaned, with times from what was heard
    with pytest.raises(
        SourceConfigError, match=r"no narrated-val .*make-data scripted-motion --out .* --part narrated"
    ):
        build_source(
            SourceConfig(kind="scripted_motion", root=tmp_path / "world", split="val"), SEGMENTS, CROP, cache=tmp_path
        )


@pytest.mark.parametrize("kind", ["yt_temporal", "folder", "cc3m", "webvid"])
def test_a_root_that_is_not_there_is_an_error(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="gone"):
        build(tmp_path / "gone", kind, tmp_path, frames=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "youtube"}, "got 'youtube'"),
        ({"root": None}, "yt_temporal needs root"),
        ({"frames": 3}, "frames must be 1 or a multiple of 2, got 3"),
        ({"kind": "cc3m", "frames": 4}, "frames must be 1, got 4"),
        ({"weight": 0.0}, "weight must be positive, got 0.0"),
        ({"batch_size": 0}, "batch_size must be positive, got 0"),
        ({"max_unreadable": 2.0}, "share from 0 to 1, got 2.0"),
        ({"split": "test"}, "split must be train or val, got 'test'"),
    ],
)
def test_nonsense_is_refused_with_its_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceConfigError, match=message):
        SourceConfig(**{"kind": "yt_temporal", "root": Path("x"), **fields})
