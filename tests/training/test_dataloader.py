"""Batches from real small files: the same whoever makes them, and nothing in place of what cannot be read."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PosixPath

import numpy as np
import pytest
import torch

from tests.support.plain_videos import write_frames
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.distributed import Rank
from tvts_bench.errors import UserError
from tvts_bench.training.dataloader import ClipBatch, ClipLoader, FrameCache
from tvts_bench.training.recipe import Recipe, without_augmentation
from tvts_bench.video.clips import load_clip
from tvts_bench.video.packet_index import VideoDecodeError
from tvts_bench.video.spec import PLAIN, ClipSpec

CLIP = ClipSpec(num_frames=4, short_side=32, crop=32, position="random")
RECIPE = Recipe(batch_size=4)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[VideoRecord]:
    """Nine videos of 16 frames whose green says which video it is, and whose red grows with the frame."""
    folder = tmp_path_factory.mktemp("videos")
    records = []
    for number in range(9):
        path = write_frames(folder / f"{number}.mp4", [(16 * frame, 28 * number, 128) for frame in range(16)])
        records.append(VideoRecord(id=f"v{number}", path=path, label=number % 3))
    return records


@pytest.fixture
def one_broken(videos: list[VideoRecord], tmp_path: Path) -> list[VideoRecord]:
    """The same, v4 being no video."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    return [replace(record, path=broken) if record.id == "v4" else record for record in videos]


def taken(loader: ClipLoader, start: int, stop: int) -> list[ClipBatch]:
    return list(loader.batches(start, stop))


def same(first: Sequence[ClipBatch], second: Sequence[ClipBatch]) -> bool:
    return [b.ids for b in first] == [b.ids for b in second] and all(
        torch.equal(a.clips, b.clips) and torch.equal(a.labels, b.labels) for a, b in zip(first, second, strict=True)
    )


def test_a_batch_holds_clips_with_their_own_labels(videos: list[VideoRecord]) -> None:
    labels = {record.id: record.label for record in videos}
    loader = ClipLoader(videos, replace(RECIPE, augment=PLAIN), CLIP)
    assert loader.steps_per_epoch == 2
    for batch in taken(loader, 0, 4):
        assert batch.clips.shape == (4, 3, 4, 32, 32)
        assert batch.clips.dtype == torch.uint8
        assert batch.labels.tolist() == [labels[name] for name in batch.ids]
        assert len(batch) == 4
        green = batch.clips[:, 1].float().mean(dim=(1, 2, 3)) / 28
        assert [f"v{value}" for value in green.round().int().tolist()] == list(batch.ids)


def test_without_augmentation_they_are_the_clips_that_features_come_from(videos: list[VideoRecord]) -> None:
    recipe = without_augmentation(Recipe(batch_size=4))
    paths = {record.id: record.path for record in videos}
    for batch in taken(ClipLoader(videos, recipe, CLIP), 0, 2):
        for name, clip in zip(batch.ids, batch.clips, strict=True):
            assert torch.equal(clip, load_clip(paths[name], name, replace(CLIP, position="center")).pixels[0])


def test_frames_are_drawn_anew_every_epoch(videos: list[VideoRecord]) -> None:
    loader = ClipLoader(videos, replace(RECIPE, augment=replace(PLAIN, frames="random")), CLIP)
    reds: dict[str, set[tuple[int, ...]]] = {}
    for batch in taken(loader, 0, 20):
        for name, clip in zip(batch.ids, batch.clips, strict=True):
            shown = (clip[0].float().mean(dim=(1, 2)) / 16).round().int().tolist()  # frame numbers
            reds.setdefault(name, set()).add(tuple(shown))
            assert [number // 4 for number in shown] == [0, 1, 2, 3]  # one of each segment
    assert max(len(draws) for draws in reds.values()) > 5


def test_batches_do_not_depend_on_workers_or_where_one_begins(videos: list[VideoRecord]) -> None:
    alone = taken(ClipLoader(videos, RECIPE, CLIP), 0, 5)
    assert same(taken(ClipLoader(videos, RECIPE, CLIP, workers=2), 2, 5), alone[2:])
    assert not same(alone[:2], taken(ClipLoader(videos, replace(RECIPE, seed=1), CLIP), 0, 2))


def test_two_ranks_make_the_batch_of_one(videos: list[VideoRecord]) -> None:
    whole = taken(ClipLoader(videos, RECIPE, CLIP), 0, 3)
    halves = [taken(ClipLoader(videos, RECIPE, CLIP, rank=Rank(rank=rank, world_size=2)), 0, 3) for rank in range(2)]
    for one, left, right in zip(whole, *halves, strict=True):
        assert one.ids == left.ids + right.ids
        assert torch.equal(one.clips, torch.cat([left.clips, right.clips]))


def test_making_batches_moves_no_global_generator(videos: list[VideoRecord]) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    taken(ClipLoader(videos, RECIPE, CLIP), 0, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unreadable_video_is_left_out_and_named_once(
    one_broken: list[VideoRecord], videos: list[VideoRecord], caplog: pytest.LogCaptureFixture
) -> None:
    whole = taken(ClipLoader(videos, RECIPE, CLIP), 0, 10)
    loader = ClipLoader(one_broken, replace(RECIPE, max_failures=0.2), CLIP)
    with caplog.at_level(logging.WARNING):
        batches = taken(loader, 0, 10)
    for batch, full in zip(batches, whole, strict=True):
        stays = [row for row, name in enumerate(full.ids) if name != "v4"]
        assert batch.ids == tuple(full.ids[row] for row in stays)
        assert torch.equal(batch.clips, full.clips[stays])
        assert torch.equal(batch.labels, full.labels[stays])
        assert list(batch.failed) == ["v4"] * (4 - len(stays))
    assert sum(len(batch.failed) for batch in batches) > 1
    assert set(loader.failed) == {"v4"}
    assert "broken.mp4" in loader.failed["v4"]
    assert sum("broken.mp4" in line for line in caplog.messages) == 1


class EndlessPath(PosixPath):
    """A file whose disk never answers."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        time.sleep(3600)
        raise AssertionError


@pytest.mark.parametrize("workers", [0, 1])
def test_a_video_that_never_ends_is_unreadable_and_not_waited_for_twice(
    videos: list[VideoRecord], tmp_path: Path, workers: int
) -> None:
    endless = [replace(r, path=EndlessPath(r.path)) if r.id == "v4" else r for r in videos]
    every = replace(RECIPE, batch_size=9, max_failures=0.2)
    loader = ClipLoader(endless, every, CLIP, workers=workers, clip_timeout=2.0)
    start = time.monotonic()
    batches = taken(loader, 0, 8)
    assert all(sorted(batch.ids) == [f"v{number}" for number in range(9) if number != 4] for batch in batches)
    assert loader.failed == {"v4": f"cannot read {videos[4].path}: decoding it takes longer than 2 s"}
    if not workers:
        assert time.monotonic() - start < 8 * 2


def test_a_batch_of_which_nothing_can_be_read_is_empty(one_broken: list[VideoRecord]) -> None:
    loader = ClipLoader(one_broken[4:5], replace(RECIPE, batch_size=1), CLIP)
    (batch,) = taken(loader, 0, 1)
    assert batch.clips.shape == (0, 3, 4, 32, 32)
    assert (len(batch), batch.labels.shape, batch.labels.dtype) == (0, (0,), torch.int64)


@pytest.mark.parametrize(("broken", "share", "allowed"), [(2, 0.05, 1), (1, 0.0, 0), (3, 0.23, 2)])
def test_too_many_unreadable_videos_end_the_run(
    videos: list[VideoRecord], tmp_path: Path, broken: int, share: float, allowed: int
) -> None:
    """A share of a small set is still one video, unless it is none."""
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    fewer = [replace(r, path=tmp_path / "broken.mp4") if n < broken else r for n, r in enumerate(videos)]
    with pytest.raises(UserError, match=rf"{broken} of 9 training videos .* the {allowed} allowed: .*broken\.mp4"):
        taken(ClipLoader(fewer, replace(RECIPE, max_failures=share), CLIP), 0, 10)


def test_what_was_found_unreadable_before_a_run_was_resumed_counts(one_broken: list[VideoRecord]) -> None:
    loader = ClipLoader(one_broken, replace(RECIPE, max_failures=0.12), CLIP)
    loader.failed["elsewhere"] = "it is not among the loader's"
    taken(loader, 0, 10)
    loader.failed["v0"] = "it could not be read before"
    with pytest.raises(UserError, match="2 of 9"):
        taken(loader, 0, 10)


def test_a_batch_larger_than_the_set_is_refused_before_anything_is_read(videos: list[VideoRecord]) -> None:
    with pytest.raises(UserError, match="has 9 clips, fewer than one batch of 10"):
        ClipLoader(videos, replace(RECIPE, batch_size=10), CLIP)
    with pytest.raises(UserError, match="cannot be divided among 3"):
        ClipLoader(videos, RECIPE, CLIP, rank=Rank(world_size=3))


def test_short_videos_kept_in_memory_cost_no_decoding_and_change_nothing(
    videos: list[VideoRecord], tmp_path: Path
) -> None:
    moving = [replace(r, path=tmp_path / r.path.name) for r in videos]
    for old, new in zip(videos, moving, strict=True):
        new.path.write_bytes(old.path.read_bytes())
    every = replace(RECIPE, batch_size=9)
    batches = ClipLoader(moving, every, CLIP).batches(0, 3)
    kept = [next(batches)]
    for record in moving:
        record.path.unlink()
    kept += list(batches)
    assert same(kept, taken(ClipLoader(videos, every, CLIP, memory=0), 0, 3))


def test_the_memory_has_its_limit_and_long_videos_are_not_kept(videos: list[VideoRecord], tmp_path: Path) -> None:
    two = 2 * 16 * 32 * 32 * 3
    memory = FrameCache(limit=two + 1)
    for record in videos:
        frames = memory.frames(record.path, lambda n: np.array([0, n - 1]))
        assert frames.shape == (2, 32, 32, 3)
    assert memory.held == two
    long = write_frames(tmp_path / "long.mp4", [(0, 0, 0)] * 70)
    roomy = FrameCache(limit=2**30)
    assert roomy.frames(long, lambda n: np.array([n - 1])).shape == (1, 32, 32, 3)
    assert roomy.held == 0
    assert (
        roomy.frames(videos[0].path, lambda n: np.array([5])) == memory.frames(videos[0].path, lambda n: np.array([5]))
    ).all()


def test_a_frame_too_thin_to_crop_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support.coded_video import write_video

    thin = write_video(tmp_path / "thin.mp4", "mpeg4", num_frames=2, size=(1056, 16))
    with pytest.raises(VideoDecodeError, match="1056 x 16 pixels, too long and thin"):
        FrameCache().frames(thin, lambda n: np.array([0]))
