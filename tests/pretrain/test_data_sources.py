"""Sources from files: what one sample holds, and the index of those that can be used."""

import itertools
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrain.data.build import build_source
from pretrain.data.clip_sampling import SegmentConfig
from pretrain.data.sources import SourceConfig
from tests.support.narration_files import second_of, write_json, write_seconds, write_yt_tree, yt_temporal
from tests.support.sources import CROP, SEGMENTS, build, rng
from tvts_bench.datasets.scripted_motion import World, make_world
from tvts_bench.errors import UserError


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


def test_names_of_files_need_not_be_text(tmp_path: Path) -> None:
    root = tmp_path / "in"
    video = write_seconds(root / "a.mp4", 20)
    name = os.fsdecode(b"caf\xe9")
    video.rename(root / f"{name}.mp4")
    write_json(root / f"{name}.json", yt_temporal(20))
    source = build(root, "folder", tmp_path)
    assert (source.index[0].path, source.index[0].id) == (root / f"{name}.mp4", f"{name}.mp4")
    assert source.sample(0, rng()).texts


def test_nothing_usable_is_an_error_that_says_why(tmp_path: Path) -> None:
    write_seconds(tmp_path / "in" / "a.mp4", 3)
    (tmp_path / "in" / "a.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:02.000\nhi\n")
    with pytest.raises(UserError, match=r"none of the 1 samples .*video too short: .*a\.mp4 \(3\.0 s"):
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


def test_the_built_in_synthetic_set_is_read_as_it_is_written(tmp_path: Path) -> None:
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
    with pytest.raises(UserError, match=r"no narrated-val .*make-data scripted-motion --out .* --part narrated"):
        build_source(
            SourceConfig(kind="scripted_motion", root=tmp_path / "world", split="val"), SEGMENTS, CROP, cache=tmp_path
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "youtube"}, "got 'youtube'"),
        ({"root": None}, "yt_temporal needs root"),
        ({"frames": 3}, "frames must be 1 or a multiple of 2, got 3"),
        ({"kind": "cc3m", "frames": 4}, "frames must be 1, got 4"),
        ({"weight": 0.0}, "weight must be positive, got 0.0"),
        ({"weight": float("nan")}, "weight must be positive, got nan"),
        ({"batch_size": 0}, "batch_size must be at least 1 or left out, got 0"),
        ({"max_unreadable": 2.0}, r"max_unreadable must be in \[0, 1\], got 2.0"),
        ({"split": "test"}, "split must be one of train, val, got 'test'"),
    ],
)
def test_nonsense_is_refused_with_its_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SourceConfig(**{"kind": "yt_temporal", "root": Path("x"), **fields})
