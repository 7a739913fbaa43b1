"""Retrieval from files to metrics, on videos of plain colours whose neighbours are known by eye."""

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PosixPath

import numpy as np
import pytest
from torch import Tensor

from tests.support.colours import colours_info
from tests.support.plain_videos import write_frames, write_plain_video
from tvts_bench import evaluate, load_backbone
from tvts_bench.backbones.base import Backbone, WeightSource
from tvts_bench.datasets.base import Dataset, VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.evaluators.zero_shot_retrieval import ZeroShotRetrieval
from tvts_bench.provenance import file_sha256
from tvts_bench.results import Result
from tvts_bench.runtime import Runtime
from tvts_bench.snapshot import file_signatures, snapshot
from tvts_bench.video.spec import ClipSpec

COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220)}
FP32 = ZeroShotRetrieval(decoder="pyav")


INFO = colours_info("test", "train", num_classes=3)


def dataset(splits: Mapping[str, Sequence[VideoRecord]]) -> Dataset:
    readers = {name: (lambda records=tuple(records): records) for name, records in splits.items()}
    return Dataset(name="colours", root=Path(), class_names=tuple(COLOURS), info=INFO, readers=readers)


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> tuple[VideoRecord, ...]:
    """Three clips each of red, green and blue; the shades of one colour are nearer than any other colour."""
    root = tmp_path_factory.mktemp("colours")
    return tuple(
        VideoRecord(
            id=f"{name}{shade}",
            path=write_plain_video(root / f"{name}{shade}.mp4", [value + 10 * shade for value in colour]),
            label=label,
            group=f"{name}-{shade // 2}",  # shades 0 and 1 come from one source
        )
        for label, (name, colour) in enumerate(COLOURS.items())
        for shade in range(3)
    )


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(workers=0, cache=tmp_path / "cache")


def measure(records: Sequence[VideoRecord], protocol: ZeroShotRetrieval, runtime: Runtime) -> Result:
    return evaluate(load_backbone("pixels"), dataset({"test": records}), protocol, runtime)


def test_every_shade_finds_its_colour(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    result = measure(colours, FP32, runtime)
    assert [(metric.name, metric.value) for metric in result.metrics] == [("R@1", 100), ("R@5", 100), ("mAP@R", 100)]
    assert result.metric("R@1").chance == pytest.approx(100 * 2 / 8)
    assert result.coverage[0].complete
    assert any("too small" in note for note in result.notes)  # eight others: no R@10


def test_the_neighbours_are_written_out_without_the_query(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    table = measure(colours, replace(FP32, ks=(2,)), runtime).tables["neighbors"]
    assert list(table["query"][:2]) == ["red0", "red0"]
    assert set(table["neighbor"][:2]) == {"red1", "red2"}
    assert list(table["rank"][:2]) == [1, 2]
    assert table["hit"].all()
    assert not (table["query"] == table["neighbor"]).any()


def test_neighbours_of_the_same_source_can_be_excluded(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    result = measure(colours, replace(FP32, ks=(1,), exclude_same_group=True), runtime)
    table = result.tables["neighbors"]
    first = dict(zip(table["query"], table["neighbor"], strict=True))
    assert first["red0"] == "red2"  # not red1, of the same source
    assert first["red2"] in ("red0", "red1")
    assert result.metric("R@1").chance == pytest.approx(100 * np.mean([1 / 7, 1 / 7, 2 / 8]))
    assert any("own group" in line for line in result.protocol)


def test_one_split_can_query_another(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    data = dataset({"test": colours[::3], "train": [*colours[1::3], *colours[2::3]]})
    protocol = replace(FP32, split="test", gallery_split="train", ks=(1,))
    result = evaluate(load_backbone("pixels"), data, protocol, runtime)
    assert result.metric("R@1").value == 100
    assert result.metric("R@1").chance == pytest.approx(100 * 2 / 6)
    assert [(item.split, item.used) for item in result.coverage] == [("test", 3), ("train", 6)]
    assert sum(result.provenance["decoders"].values()) == 9  # the clips of both splits


def test_a_query_that_is_also_in_the_gallery_does_not_count_itself(
    colours: tuple[VideoRecord, ...], runtime: Runtime
) -> None:
    data = dataset({"test": colours[:1], "train": colours})
    result = evaluate(load_backbone("pixels"), data, replace(FP32, gallery_split="train", ks=(1,)), runtime)
    assert result.metric("R@1").chance == pytest.approx(100 * 2 / 8)
    assert result.metric("mAP@R").value == 100


def test_groups_that_are_not_there_cannot_be_excluded(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    without = [replace(record, group=None) for record in colours]
    with pytest.raises(UserError, match="colours test does not say which clips are of one group"):
        measure(without, replace(FP32, exclude_same_group=True), runtime)
    assert not runtime.cache.exists()


def test_unreadable_clips_are_counted_and_never_replaced(
    colours: tuple[VideoRecord, ...], runtime: Runtime, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    broken = (
        VideoRecord(id="text", path=tmp_path / "text.mp4", label=0),
        VideoRecord(id="gone", path=tmp_path / "gone.mp4", label=1),
    )
    result = measure((*broken, *colours), FP32, runtime)
    assert result.metric("R@1").value == 100
    assert (result.coverage[0].listed, result.coverage[0].used) == (11, 9)
    assert set(result.coverage[0].failed) == {"text", "gone"}
    assert any("9 of 11" in note for note in result.notes)
    with pytest.raises(UserError, match=r"2 of 11 clips .*text\.mp4"):
        measure((*broken, *colours), FP32, replace(runtime, strict=True))


def test_a_split_without_a_readable_clip_is_an_error(runtime: Runtime, tmp_path: Path) -> None:
    gone = [VideoRecord(id=f"gone{index}", path=tmp_path / f"gone{index}.mp4", label=0) for index in range(3)]
    with pytest.raises(UserError, match="3 of 3 clips"):
        measure(gone, FP32, runtime)


def test_classes_of_one_clip_leave_nothing_to_find(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    with pytest.raises(UserError, match="fewer than two"):
        measure(colours[::3], FP32, runtime)


def test_a_lonely_query_counts_as_a_miss_and_is_said(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    result = measure(colours[:4], replace(FP32, ks=(1,)), runtime)  # three red, one green
    assert result.metric("R@1").value == 75
    assert any(note.startswith("1 queries have no clip") for note in result.notes)


def test_k_larger_than_the_gallery_is_refused_before_anything_is_decoded(
    colours: tuple[VideoRecord, ...], runtime: Runtime
) -> None:
    with pytest.raises(UserError, match=r"--k 9 .* 8 clips"):
        measure(colours, replace(FP32, ks=(9,)), runtime)
    assert not runtime.cache.exists()


class FirstFrame(Backbone):
    """The mean colour of a clip's first frame, so what is first decides."""

    family, variant, embed_dim = "first", "frame", 3
    clip_spec = ClipSpec(num_frames=4, short_side=32, crop=32, mean=(0.5, 0.5, 0.5))
    weights = WeightSource(name="no weights", sha256="1" * 64)

    def forward(self, clips: Tensor) -> Tensor:
        return clips[:, :, 0].mean(dim=(2, 3))


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> tuple[VideoRecord, ...]:
    """Three clips that turn from red to green and three from red to blue: the end tells the class, the start does not.

    The reds come in three shades, one of each class, so that by their first frames a clip's nearest is of the other.
    """
    root = tmp_path_factory.mktemp("turning")
    records = []
    for label, end in enumerate(((20, 220, 20), (20, 20, 220))):
        for shade in range(3):
            path = root / f"{label}{shade}.mp4"
            write_frames(path, [*[(250, 80 * shade, 80 * shade)] * 16, *[end] * 16])
            records.append(VideoRecord(id=path.name, path=path, label=label))
    return tuple(records)


def test_controls_take_time_away_from_the_clips(turning: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    protocol = replace(FP32, ks=(1,), controls=("reversed", "single"))
    result = evaluate(FirstFrame(), dataset({"test": turning}), protocol, runtime)
    assert result.metric("R@1").value == 0
    assert result.metric("R@1", "reversed").value == 100
    assert result.metric("R@1", "single").value == 100  # the frame in the middle, the first of the other colour


class FlakyPath(PosixPath):
    """A file that can be read, but not for ever."""

    looks = 0
    most = 0  # how often it can be looked at

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        type(self).looks += 1
        if type(self).looks > type(self).most:
            raise OSError(errno.EIO, "the disk is gone")
        return os.stat(os.fspath(self), follow_symlinks=follow_symlinks)  # noqa: PTH116 - what Path.stat does


def test_a_clip_lost_under_one_seed_is_left_out_of_all(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    clip = replace(load_backbone("pixels").clip_spec, position="random")
    protocol = replace(FP32, ks=(1,), clip=clip, seeds=(0, 1))
    flaky = replace(colours[0], path=FlakyPath(colours[0].path))
    FlakyPath.most = 10**6
    measure((flaky, *colours[1:]), replace(protocol, seeds=(0,)), replace(runtime, cache=runtime.cache / "counted"))
    FlakyPath.looks, FlakyPath.most = 0, FlakyPath.looks  # enough for the first seed, not for the second
    result = measure((flaky, *colours[1:]), protocol, runtime)
    assert set(result.coverage[0].failed) == {"red0"}
    assert result.coverage[0].transient == ("red0",)
    assert result.coverage[0].used == 8
    assert len(result.metric("R@1").per_seed) == 2
    assert "red0" not in result.tables["neighbors"]["query"]
    assert "red0" not in result.tables["neighbors"]["neighbor"]


def test_several_seeds_give_one_value_each(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    clip = replace(load_backbone("pixels").clip_spec, position="random")
    result = measure(colours, replace(FP32, ks=(1,), clip=clip, seeds=(0, 1, 2)), runtime)
    assert result.metric("R@1").per_seed == (100, 100, 100)
    assert sorted(set(result.tables["neighbors"]["seed"])) == [0, 1, 2]


def test_coverage_says_of_which_files_it_speaks(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    paths = {record.id: record.path for record in colours}
    clip = replace(load_backbone("pixels").clip_spec, position="random")
    coverage = measure(colours, replace(FP32, clip=clip, seeds=(0, 1)), runtime).coverage[0]
    assert coverage.files == snapshot(file_signatures(paths), {name: file_sha256(path) for name, path in paths.items()})
    assert coverage.transient == ()


def test_a_second_run_decodes_nothing_and_says_the_same(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [write_plain_video(tmp_path / f"{shade}.mp4", (shade, 0, 0)) for shade in (50, 100, 200)]
    records = [VideoRecord(id=path.name, path=path, label=0) for path in paths]
    first = measure(records, FP32, runtime)
    monkeypatch.setattr("tvts_bench.features.extraction.load_clips", None)
    second = measure(records, FP32, replace(runtime, batch_size=3))
    assert second.coverage[0].complete
    (computed_by,) = second.provenance["features_computed_by"].items()
    assert computed_by[0].startswith("cpu, batches of 16, torch ")  # by the first run
    assert computed_by[1] == 3
    assert second.metrics == first.metrics
    assert second.run.key == first.run.key


def test_the_run_key_names_what_was_left_to_defaults(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    by_default = measure(colours, FP32, runtime)
    spelled_out = replace(FP32, split="test", clip=load_backbone("pixels").clip_spec)
    assert measure(colours, spelled_out, runtime).run.key == by_default.run.key
    assert by_default.run.evaluator["seeds"] == [0]


def test_the_order_in_which_ks_are_asked_for_is_no_part_of_the_run(
    colours: tuple[VideoRecord, ...], runtime: Runtime
) -> None:
    keys = {measure(colours, replace(FP32, ks=ks), runtime).run.key for ks in ((1, 5), (5, 1), (5, 1, 1))}
    assert len(keys) == 1


def test_the_seed_of_the_clip_is_the_seed_that_is_measured(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    clip = replace(load_backbone("pixels").clip_spec, position="random", seed=7)
    result = measure(colours, replace(FP32, clip=clip), runtime)
    assert (result.run.evaluator["seeds"], result.run.evaluator["clip"]["seed"]) == ([7], 7)
    assert measure(colours, replace(FP32, clip=replace(clip, seed=0), seeds=(7,)), runtime).run.key == result.run.key


def test_fixed_frames_have_no_seeds_to_vary(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    with pytest.raises(UserError, match="2 seeds repeat random frames"):
        measure(colours, replace(FP32, seeds=(0, 1)), runtime)


def test_other_groups_are_another_run(colours: tuple[VideoRecord, ...], runtime: Runtime) -> None:
    protocol = replace(FP32, ks=(1,), exclude_same_group=True)
    shuffled = [replace(record, group=f"{index % 4}") for index, record in enumerate(colours)]
    keys = {measure(records, protocol, runtime).run.key for records in (colours, shuffled)}
    assert len(keys) == 2


def test_nonsense_is_refused_with_its_value() -> None:
    with pytest.raises(UserError, match="0"):
        replace(FP32, ks=(0,))
    with pytest.raises(UserError, match="seed"):
        replace(FP32, seeds=())
    with pytest.raises(UserError, match=r"\[3, 3\]"):
        replace(FP32, seeds=(3, 3))
    with pytest.raises(UserError, match="'reversed'"):
        replace(FP32, clip=ClipSpec(frame_order="reversed"))
    with pytest.raises(UserError, match="'val'"):
        replace(FP32, split="val", gallery_split="val")
