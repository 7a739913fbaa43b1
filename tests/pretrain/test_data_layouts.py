"""What each layout on disk lists, and what is left out and why."""

import errno
import logging
import os
from pathlib import Path

import pytest
from PIL import Image

from pretrain.data import transcripts
from tests.support.narration_files import FPS, second_of, write_json, write_seconds, write_yt_tree, yt_temporal
from tests.support.sources import build, rng
from tvts_bench.datasets.base import AnnotationError, DatasetError
from tvts_bench.errors import UserError
from tvts_bench.video.packet_index import VideoDecodeError


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


def test_a_file_that_could_not_be_read_for_the_moment_is_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_of_files(path: Path, most: int) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    with monkeypatch.context() as short:
        short.setattr(transcripts, "read_regular", short_of_files)
        with pytest.raises(UserError, match=r"none of the 10 samples .*too many open files"):
            build(folder, "folder", tmp_path, max_unreadable=1.0)
    healed = build(folder, "folder", tmp_path, max_unreadable=1.0)
    assert (len(healed), healed.index.report.transient) == (4, [])


def test_too_many_unreadable_files_stop_the_run(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 of 10 files cannot be read, more than the share 0\.1") as refused:
        build(folder, "folder", tmp_path, max_unreadable=0.1)
    assert "go on without them with data.sources.NUMBER.max_unreadable=SHARE" in str(refused.value)


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


@pytest.mark.parametrize("kind", ["yt_temporal", "folder", "cc3m", "webvid"])
def test_a_root_that_is_not_there_is_an_error(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="gone"):
        build(tmp_path / "gone", kind, tmp_path, frames=1)
