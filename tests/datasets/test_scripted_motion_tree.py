"""ScriptedMotion on disk: real files, official layouts through the real readers, interruption, errors, the command."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

import tvts_bench
from tvts_bench.cli.datasets import make_data
from tvts_bench.cli.main import app
from tvts_bench.datasets import scripted_motion
from tvts_bench.datasets.base import DatasetError
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.datasets.scripted_motion import LABELLED, PARTS, World, make_world, parts, read_manifest
from tvts_bench.datasets.scripted_motion.clips import LabelledClass, ScriptedClip, take
from tvts_bench.datasets.scripted_motion.parts import encode
from tvts_bench.datasets.scripted_motion.world import GENERATOR_VERSION
from tvts_bench.errors import UserError

TINY = World(
    seed=1, ssv2_train=48, ssv2_val=24, k400_train=24, k400_val=24, ucf_groups=4, ucf_clips=2, hmdb_clips=4,
    narrated_train=3, narrated_val=1, narrated_shards=2, narrated_shortest=8, narrated_longest=10,
)  # fmt: skip
VAL = ("ssv2-val",)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    make_world(out, TINY, PARTS, workers=2)
    return out


# Files


@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "vp9"), (".mp4", "h264"), (".avi", "mpeg4")])
def test_files_are_what_the_real_sets_ship(suffix: str, codec: str) -> None:
    frames = take(TINY, ScriptedClip(path="x", kind=LabelledClass(name="-", actions=("left", "clockwise")))).frames()
    content = encode(frames, 12, suffix)
    assert content == encode(frames, 12, suffix)
    with av.open(io.BytesIO(content), "r") as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == codec
        assert stream.average_rate is not None
        assert float(stream.average_rate) == 12
        decoded = list(container.decode(stream))
    shown = np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
    assert shown.shape == frames.shape
    # Every frame is nearer to its own original than to any more than one frame away: no frame is lost or moved.
    error = np.abs(shown[:, None].astype(int) - frames[None]).mean((2, 3, 4))
    assert np.abs(error.argmin(1) - np.arange(len(frames))).max() <= 1
    assert error.diagonal().max() < 10
    kinds = Counter(int(frame.pict_type) for frame in decoded)
    assert (kinds[3] > 0) == (suffix != ".webm")  # B-frames
    assert sum(frame.key_frame for frame in decoded) > (suffix != ".webm")


# Layouts, read by the readers of the real sets


def test_something_something(tree: Path) -> None:
    world = load_dataset("scripted_motion", tree)
    assert (world.name, world.splits, world.info.default_split) == ("scripted_motion-ssv2", ("train", "val"), "val")
    assert world.coverage("val") == replace(world.coverage("val"), listed=24, present=24, official=())
    assert Counter(record.label for record in world.records("train")) == dict.fromkeys(range(24), 2)
    listed = json.loads((tree / "ssv2/something-something-v2-validation.json").read_text())
    names = [template.replace("[", "").replace("]", "") for template in (entry["template"] for entry in listed)]
    assert [world.class_names[record.label] for record in world.records("val")] == names
    assert all(record.path.suffix == ".webm" for record in world.records("val"))
    assert not {record.id for record in world.records("val")} & {record.id for record in world.records("train")}


def test_kinetics(tree: Path) -> None:
    world = load_dataset("scripted_motion:k400", tree)
    assert world.class_names[0] == "seven growing on brick"
    for split in ("train", "val"):
        assert sorted(record.label for record in world.records(split)) == list(range(24))
        assert all(record.path.is_file() and record.path.suffix == ".mp4" for record in world.records(split))


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_ucf_splits_never_share_a_group(tree: Path, fold: int) -> None:
    world = load_dataset("scripted_motion:ucf101", tree, fold=fold)
    train, test = world.records("train"), world.records("test")
    assert (len(train), len(test), len(world.class_names)) == (12 * 3 * 2, 12 * 1 * 2, 12)
    assert not {record.group for record in train} & {record.group for record in test}
    assert all(record.path.is_file() and record.path.suffix == ".avi" for record in (*train, *test))


def test_hmdb_folds_have_disjoint_test_sets() -> None:
    clips = parts.items(World(), "hmdb51")
    assert len(clips) == 12 * 104
    tested = []
    for relative, text in parts.lists(World(), "hmdb51").items():
        flags = Counter(line.split()[1] for line in text.splitlines())
        assert flags == {"1": 70, "2": 30, "0": 4}, relative
        tested += [line.split()[0] for line in text.splitlines() if line.endswith(" 2 ")]
    assert len(tested) == len(set(tested)) == 12 * 90


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_hmdb(tree: Path, fold: int) -> None:
    world = load_dataset("scripted_motion:hmdb51", tree, fold=fold)
    assert world.class_names == tuple(sorted(world.class_names))
    assert (len(world.records("train")), len(world.records("test"))) == (12 * 2, 12)
    assert all(record.path.is_file() for record in world.records("test"))


def test_narrated_videos_lie_as_in_yt_temporal(tree: Path) -> None:
    base = tree / "yt_temporal"
    header, *names = (base / "meta_data/yttemporal_train.csv").read_text().splitlines()
    assert (header, len(names), {name.split("/")[0] for name in names}) == ("Name", 3, {"subset_0", "subset_1"})
    for name in names:
        said = json.loads((base / "videos" / name.replace("/data/", "/annotations/")).with_suffix(".json").read_text())
        with av.open(base / "videos" / name) as container:
            stream = container.streams.video[0]
            count = sum(1 for _ in container.decode(stream))
            assert (stream.width, stream.height) == (said["info"]["width"], said["info"]["height"])
        assert said["info"]["duration"] == count // 12
        assert said["subtitles"][-1]["time"] < count / 12
        assert said["scripted_motion"][-1]["end"] == pytest.approx(count / 12, abs=1e-3)


# Determinism


def test_frames_and_files_do_not_depend_on_workers(tree: Path, tmp_path: Path) -> None:
    again = make_world(tmp_path / "w", TINY, VAL, workers=0)
    manifest = read_manifest(tree)
    assert manifest is not None
    assert again.parts["ssv2-val"] == manifest.parts["ssv2-val"]
    for path in (tmp_path / "w/ssv2").rglob("*.webm"):
        assert path.read_bytes() == (tree / path.relative_to(tmp_path / "w")).read_bytes()


def test_the_seed_changes_every_clip(tree: Path, tmp_path: Path) -> None:
    other = make_world(tmp_path / "w", replace(TINY, seed=2), VAL, workers=0)
    manifest = read_manifest(tree)
    assert manifest is not None
    assert other.parts["ssv2-val"].frames_sha256 != manifest.parts["ssv2-val"].frames_sha256


def test_other_pixels_under_the_same_names_are_another_data_set(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_world(tmp_path / "w", replace(TINY, clip_fastest=TINY.clip_fastest + 1), VAL, workers=0)
    first, other = load_dataset("scripted_motion", tree), load_dataset("scripted_motion", tmp_path / "w")
    ids = [[(record.id, record.label) for record in world.records("val")] for world in (first, other)]
    assert ids[0] == ids[1]
    assert first.fingerprint("val") != other.fingerprint("val")
    assert first.fingerprint("val") == load_dataset("scripted_motion", tree).fingerprint("val")
    monkeypatch.setattr(scripted_motion.world, "GENERATOR_VERSION", GENERATOR_VERSION + 1)
    with pytest.raises(DatasetError, match="generator version 3, this is version 4"):
        load_dataset("scripted_motion", tree)
    make_world(tmp_path / "later", TINY, VAL, workers=0)
    assert first.fingerprint("val") != load_dataset("scripted_motion", tmp_path / "later").fingerprint("val")


def test_the_manifest_says_what_was_made(tree: Path) -> None:
    content = json.loads((tree / "scripted_motion.json").read_text())
    assert content["world"]["seed"] == 1
    assert content["digest"] == TINY.digest
    assert set(content["parts"]) == set(PARTS)
    assert content["parts"]["ssv2-val"]["items"] == 24
    assert len(content["parts"]["ssv2-val"]["classes"]) == 24
    assert "scripted_motion.json" in (tree / "README.txt").read_text()
    assert not (tree / ".making").exists()


# On first use


def test_only_what_is_needed_is_made_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TVTS_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(scripted_motion, "DEFAULT", TINY)
    world = load_dataset("scripted_motion")
    (manifest,) = tmp_path.glob("scripted-motion/*/scripted_motion.json")
    assert list(json.loads(manifest.read_text())["parts"]) == ["ssv2-val"]
    assert len(world.records("val")) == 24
    assert list(json.loads(manifest.read_text())["parts"]) == ["ssv2-val"]
    assert len(world.records("train")) == 48
    assert list(json.loads(manifest.read_text())["parts"]) == ["ssv2-val", "ssv2-train"]
    before = manifest.stat().st_mtime_ns
    assert load_dataset("scripted-motion").fingerprint("val") == world.fingerprint("val")
    assert manifest.stat().st_mtime_ns == before


def test_a_root_without_the_part_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no ScriptedMotion world .* make-data scripted-motion --out"):
        load_dataset("scripted_motion", tmp_path)
    make_world(tmp_path / "w", TINY, VAL, workers=0)
    with pytest.raises(DatasetError, match=r"lacks k400-val .*--part k400-val"):
        load_dataset("scripted_motion:k400", tmp_path / "w")
    world = load_dataset("scripted_motion", tmp_path / "w")
    with pytest.raises(DatasetError, match="lacks ssv2-train"):
        world.records("train")
    with pytest.raises(DatasetError, match="annotations"):
        load_dataset("scripted_motion", tmp_path / "w", annotations=tmp_path)


# Interruption


def start(script: Path, out: Path) -> "subprocess.Popen[bytes]":
    """A script as users write them: nothing guards its main part against being imported by workers."""
    script.write_text(
        "from pathlib import Path\n"
        "from tvts_bench.datasets.scripted_motion import World, make_world\n"
        f"make_world(Path({str(out)!r}), World(ssv2_val=240), ('ssv2-val',), workers=2)\n"
    )
    package = str(Path(tvts_bench.__file__).parent.parent)
    return subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": package})


def test_a_killed_run_is_taken_up_and_two_runs_share_the_work(tmp_path: Path) -> None:
    out = tmp_path / "w"
    killed = start(tmp_path / "a.py", out)
    deadline = time.monotonic() + 180
    while not list(out.glob(".making/ssv2-val/*.json")) and killed.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    manifest = read_manifest(out)
    assert manifest is not None
    assert manifest.parts == {}
    assert not list(out.glob("ssv2/*.json"))
    jobs = [int(path.stem) for path in out.glob(".making/ssv2-val/*.json")]
    assert 0 < len(jobs) < 6
    videos = [out / f"ssv2/20bn-something-something-v2/{500_001 + first + i}.webm" for first in jobs for i in range(40)]
    done = {path: path.stat().st_mtime_ns for path in videos}

    both = [start(tmp_path / "a.py", out), start(tmp_path / "b.py", out)]
    assert [process.wait(180) for process in both] == [0, 0]
    assert done == {path: path.stat().st_mtime_ns for path in videos}  # finished jobs were not done again
    whole = make_world(tmp_path / "whole", World(ssv2_val=240), VAL, workers=0)
    assert read_manifest(out) == whole
    names = [sorted(path.name for path in root.glob("ssv2/*/*.webm")) for root in (out, tmp_path / "whole")]
    assert names[0] == names[1]


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """The operating system refuses to write more than `size` bytes to a file, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_is_one_sentence_and_nothing_is_lost(tmp_path: Path, workers: int) -> None:
    world = World(ssv2_val=80)
    make_world(tmp_path, world, (), workers=0)
    with files_limited_to(5000), pytest.raises(DatasetError, match=f"cannot write .* {tmp_path}: .*TVTS_BENCH_CACHE"):
        make_world(tmp_path, world, VAL, workers=workers)
    assert make_world(tmp_path, world, VAL, workers=workers).parts["ssv2-val"].items == 80


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(DatasetError, match=r"cannot write the ScriptedMotion world"):
            make_world(out, TINY, VAL, workers=0)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_text("x")
    with pytest.raises(DatasetError, match=r"not empty \(holiday.mp4\)"):
        make_world(tmp_path, TINY, VAL, workers=0)
    make_world(tmp_path / "w", TINY, (), workers=0)
    with pytest.raises(DatasetError, match="seed=1, not 2"):
        make_world(tmp_path / "w", replace(TINY, seed=2), VAL, workers=0)
    with pytest.raises(DatasetError, match="no part 'ssv3'"):
        make_world(tmp_path / "w", TINY, ("ssv3",))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", f'{{"generator": {GENERATOR_VERSION}, "parts": {{}}, "world": {{"frame_rate": 1}}}}', "\xff"],
)
def test_a_broken_manifest_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "scripted_motion.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(DatasetError, match=r"frame_rate|is no manifest"):
        load_dataset("scripted_motion", tmp_path)


def test_the_command_makes_what_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_data("scripted-motion", tmp_path / "w", part=["ssv2"], seed=5, size=0.01, setting=["fps=10"], workers=0)
    out = capsys.readouterr().out
    assert out.splitlines()[0].split()[:3] == ["ssv2-train", "40", "files"]
    assert out.splitlines()[1].split()[:3] == ["ssv2-val", "24", "files"]
    manifest = read_manifest(tmp_path / "w")
    assert manifest is not None
    assert (manifest.world.seed, manifest.world.fps, manifest.world.ucf_groups) == (5, 10, 4)
    make_data("scripted-motion", tmp_path / "w", part=["ucf101"], workers=0)  # completes the world that is there
    assert load_dataset("scripted_motion:ucf101", tmp_path / "w").coverage("test").complete
    with pytest.raises(DatasetError, match="seed=5, not 6"):
        make_data("scripted-motion", tmp_path / "w", part=["ucf101"], seed=6, size=0.01, setting=["fps=10"], workers=0)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"world": "moving-mnist"}, "moving-mnist"), ({"part": ["ssv3"]}, "ssv3"), ({"setting": ["fps"]}, "fps"),
     ({"setting": ["fps=fast"]}, "fast"), ({"setting": ["speed=1"]}, "speed"), ({"setting": ["fps=0"]}, "fps")],
)  # fmt: skip
def test_the_command_names_what_it_cannot_make(tmp_path: Path, options: dict[str, object], named: str) -> None:
    with pytest.raises(UserError, match=named):
        make_data(**({"world": "scripted-motion", "out": tmp_path} | options))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_the_default_sizes_give_intervals_of_two_points() -> None:
    """At p = 0.5 the 95 % interval of 2,400 clips is +-2.0 points; the labelled parts are made when none is named."""
    assert 1.96 * 50 / World().ssv2_val ** 0.5 <= 2.001
    assert set(LABELLED) == set(PARTS) - {"narrated-train", "narrated-val"}


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--set", "ssv2_train=1_000", "'1_000' is not a whole number"),
        ("--set", "ssv2_train=1e3", "'1e3' is not a whole number"),
        ("--workers", "100000", "workers must be at most 1,024 processes, got 100,000"),
    ],
)
def test_numbers_that_make_no_sense_are_one_sentence(tmp_path: Path, option: str, value: str, sentence: str) -> None:
    made = CliRunner().invoke(app, ["make-data", "scripted-motion", "--out", str(tmp_path / "world"), option, value])
    assert made.exit_code == 2
    assert sentence in made.stderr
    assert not (tmp_path / "world").exists()
