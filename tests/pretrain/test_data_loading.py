"""Batches: equal for any number of workers and ranks, from any step, with failures counted."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pretrain.data.build import build_source
from pretrain.data.clip_sampling import CropConfig, SegmentConfig
from pretrain.data.loading import LoaderConfig, NarratedBatch, NarratedLoader, validation_batches
from pretrain.data.sources import Source, SourceConfig
from tests.support.narration_files import detokenize, tokenize, write_yt_tree
from tvts_bench.errors import UserError

SEGMENTS = SegmentConfig(segments=3, lengths=(2.0, 3.0))
CROP = CropConfig(size=16, short_side=18)


def narrated(root: Path, **fields: Any) -> Source:
    config = SourceConfig(kind="yt_temporal", root=root, frames=4, **fields)
    return build_source(config, SEGMENTS, CROP, cache=root / "cache")


@pytest.fixture(scope="module")
def yt(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return narrated(write_yt_tree(tmp_path_factory.mktemp("yt"), [14 + i for i in range(9)]), weight=2.0)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Source:
    root = tmp_path_factory.mktemp("cc3m")
    for number in range(5):
        (root / "0").mkdir(exist_ok=True)
        Image.new("RGB", (20, 24), (number * 40,) * 3).save(root / "0" / f"{number}.png")
        (root / "0" / f"{number}.txt").write_text(f"caption {number}")
    config = SourceConfig(kind="cc3m", root=root, frames=1, batch_size=2)
    return build_source(config, SEGMENTS, CROP, cache=root / "cache")


def loader(*sources: Source, **fields: Any) -> NarratedLoader:
    places = {name: fields.pop(name) for name in ("workers", "rank", "world_size") if name in fields}
    return NarratedLoader(sources, LoaderConfig(**{"batch_size": 4, **fields}), tokenize, **places)


def same(a: NarratedBatch, b: NarratedBatch) -> bool:
    names = ("clips", "input_ids", "attention_mask", "segments", "seeds")
    return a.ids == b.ids and all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def seeds_of(batch: NarratedBatch) -> list[int]:
    assert batch.seeds is not None
    return [int(seed) for seed in batch.seeds]


def test_a_batch(yt: Source) -> None:
    batch = next(loader(yt).batches(0, 1))
    assert batch.clips.shape == (4, 3, 4, 16, 16)
    assert batch.segments.tolist() == [3, 3, 3, 3]
    assert batch.input_ids.shape == batch.attention_mask.shape
    assert batch.input_ids.shape[:2] == (4, 3)
    assert len(set(batch.ids)) == 4
    for i in range(4):
        times = [float(detokenize(batch.input_ids[i, k], batch.attention_mask[i, k]).split()[0][1:]) for k in range(3)]
        assert times == sorted(times)


def test_captions_are_one_segment_and_padding(yt: Source, images: Source) -> None:
    mixed = loader(yt, images)
    batches = list(mixed.batches(0, 6))
    assert [mixed.mixture.source_of(step) for step in range(6)] == [0, 1, 0, 0, 1, 0]
    captions = batches[1]
    assert captions.clips.shape == (2, 3, 2, 16, 16)  # its own batch size and number of frames
    assert captions.segments.tolist() == [1, 1]
    assert captions.attention_mask[:, 0].sum(dim=1).tolist() == [9, 9]
    assert not captions.attention_mask[:, 1:].any()
    texts = [detokenize(captions.input_ids[i, 0], captions.attention_mask[i, 0]) for i in range(2)]
    assert texts == [f"caption {name[-1]}" for name in captions.ids]


def test_resuming_at_a_step_gives_the_same_batches(yt: Source, images: Source) -> None:
    through = list(loader(yt, images).batches(0, 8))
    again = [*loader(yt, images).batches(0, 3), *loader(yt, images).batches(3, 8)]
    assert all(map(same, through, again))
    assert not same(through[0], through[2])


def test_workers_do_not_change_a_byte_nor_the_global_generator(yt: Source, images: Source) -> None:
    state = torch.random.get_rng_state()
    alone = list(loader(yt, images).batches(0, 5))
    beside = list(loader(yt, images, workers=2).batches(0, 5))
    assert all(map(same, alone, beside))
    assert torch.equal(state, torch.random.get_rng_state())


def test_ranks_share_the_batch_of_one_process(yt: Source, images: Source) -> None:
    whole = list(loader(yt, images).batches(0, 3))
    parts = [list(loader(yt, images, rank=rank, world_size=2).batches(0, 3)) for rank in range(2)]
    for step in range(3):
        first, second = (part[step] for part in parts)
        assert first.ids + second.ids == whole[step].ids
        assert torch.equal(torch.cat([first.clips, second.clips]), whole[step].clips)
        assert seeds_of(first) + seeds_of(second) == seeds_of(whole[step])


def test_a_batch_that_cannot_be_shared_is_refused_before_training(yt: Source, images: Source) -> None:
    with pytest.raises(UserError, match=r"batch of 2 of cc3m \(train\) cannot be divided among 4 processes"):
        loader(yt, images, rank=0, world_size=4)


def test_what_an_epoch_leaves_out_is_said_once(yt: Source, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="pretrain"):
        loader(yt, rank=0, world_size=2)
        loader(yt, rank=1, world_size=2)
    assert caplog.text.count("9 samples, 2 batches of 4 an epoch (the 1 left over") == 1


def test_what_was_redrawn_is_counted(tmp_path: Path) -> None:
    root = write_yt_tree(tmp_path, [9, 10])  # only the shorter length fits
    path = root / "videos/subset_0/annotations/train0.json"
    path.write_text(
        '{"subtitles": [{"word": "a", "time": 0.3}, {"word": "b", "time": 3.3}, {"word": "c", "time": 6.3}]}'
    )
    counting = loader(narrated(root), batch_size=2)
    list(counting.batches(0, 20))
    assert 0 < counting.counts["start_redrawn"] <= 20
    assert not counting.failures


def damaged(tmp_path: Path, share: int) -> Source:
    """Ten videos, `share` of them broken after they were checked."""
    root = write_yt_tree(tmp_path, [12] * 10)
    source = narrated(root)
    for number in range(share):
        video = root / f"videos/subset_{number % 2}/data/train{number}.mp4"
        video.write_bytes(video.read_bytes()[:200])
    return source


def test_a_file_that_breaks_is_replaced_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = damaged(tmp_path, 1)
    losing = loader(source, batch_size=5, max_failures=0.5)
    with caplog.at_level(logging.WARNING):
        batches = list(losing.batches(0, 4))
    assert [len(batch) for batch in batches] == [5, 5, 5, 5]
    assert (
        losing.counts["unreadable while training"] == len(losing.failures) >= 2
    )  # once an epoch, and as a replacement
    assert all("train0.mp4" in failure for failure in losing.failures)
    assert "replaced by another sample: cannot read" in caplog.text
    assert not any("train0.mp4" in name for batch in batches for name in batch.ids)
    again = list(loader(source, batch_size=5, max_failures=0.5).batches(2, 4))
    assert all(map(same, batches[2:], again))


def test_strict_ends_at_the_first_failure(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train0\.mp4.*strict"):
        list(loader(damaged(tmp_path, 1), batch_size=10, strict=True).batches(0, 1))


def test_too_many_failures_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"of \d+ samples could not be read, more than max_failures=0\.1"):
        list(loader(damaged(tmp_path, 6), batch_size=5, max_failures=0.1).batches(0, 20))


def test_nothing_readable_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="10 samples of yt_temporal"):
        list(loader(damaged(tmp_path, 10), batch_size=5).batches(0, 1))


def test_validation_takes_every_sample_once_and_the_same_at_every_call(yt: Source) -> None:
    first = list(validation_batches(yt, tokenize, batch_size=4))
    second = list(validation_batches(yt, tokenize, batch_size=4))
    assert [len(batch) for batch in first] == [4, 4, 1]
    assert [name for batch in first for name in batch.ids] == [yt.index[i].id for i in range(9)]
    assert all(map(same, first, second))


def test_validation_does_not_replace(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"train0\.mp4"):
        list(validation_batches(damaged(tmp_path, 1), tokenize, batch_size=4))


def test_a_batch_moves_as_a_whole(yt: Source) -> None:
    batch = next(loader(yt).batches(0, 1)).to("meta")
    assert batch.clips.device.type == batch.segments.device.type == "meta"
    assert batch.seeds is not None
    assert batch.seeds.device.type == "meta"
    assert len(batch) == 4
