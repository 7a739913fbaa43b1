"""A pool of stories: clips drawn once for all runs, words told anew; never one of another world, cut or crop."""

import pickle
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from pretrain.assembly import build_loader, build_sources, build_tokenizer
from pretrain.config import compose
from pretrain.data.loading import NarratedBatch
from pretrain.data.sample_cache import TELLINGS
from pretrain.data.sources import Sample, SourceConfig
from pretrain.data.synthetic_source import DrawnSource
from tests.support.tiny_run import tiny
from tvts_bench.datasets.scripted_motion import world
from tvts_bench.distributed import Rank
from tvts_bench.errors import UserError

POOL = "data.sources=[{kind: scripted_motion_drawn, frames: 4, pool: 6}]"


def pooled(cache: Path, *settings: str) -> DrawnSource:
    config, _ = tiny(cache / "preset", POOL, *settings)
    (source,) = build_sources(config, cache)
    return cast(DrawnSource, source)


def sample(source: DrawnSource, number: int, seed: int = 0) -> Sample:
    return source.sample(number, np.random.default_rng(seed))


def files(cache: Path) -> set[str]:
    return {path.name for path in cache.glob("story-pools/*.safetensors")}


def test_a_storys_frames_are_drawn_once_and_its_words_anew(tmp_path: Path) -> None:
    source = pooled(tmp_path)
    assert len(source) == 6
    for number in range(6):
        seen = [sample(source, number, seed) for seed in range(40)]
        assert all(torch.equal(each.clip, seen[0].clip) for each in seen)
        assert {each.id for each in seen} == {source.index[number].id}
        tellings = {each.texts for each in seen}
        assert 1 < len(tellings) <= TELLINGS
        assert all(len(texts) == 2 and all(texts) for texts in tellings)
    assert not torch.equal(sample(source, 0).clip, sample(source, 1).clip)


def test_clips_and_words_are_of_the_same_story(tmp_path: Path) -> None:
    """What a pool says is what is drawn for that story without one, or another telling of it."""
    source, drawn = pooled(tmp_path), cast(DrawnSource, build_sources(tiny(tmp_path)[0], None)[0])
    for number in range(6):
        story = drawn.for_pool(number)
        assert torch.equal(story.clip, sample(source, number).clip)
        assert {sample(source, number, seed).texts for seed in range(40)} <= set(story.tellings)
        assert story.tellings[0] == tuple(drawn.for_pool(number).tellings[0])
    assert len(set(story.tellings)) > 1


def test_held_out_samples_are_drawn_as_without_a_pool(tmp_path: Path) -> None:
    with_pool, without = pooled(tmp_path), cast(DrawnSource, build_sources(tiny(tmp_path)[0], None)[0])
    found, expected = (each.sample(2, np.random.default_rng(1), training=False) for each in (with_pool, without))
    assert found.texts == expected.texts
    assert torch.equal(found.clip, expected.clip)


def test_a_pool_is_made_once_for_all_seeds_and_objectives(tmp_path: Path) -> None:
    pooled(tmp_path)
    (path,) = tmp_path.glob("story-pools/*.safetensors")
    before = path.stat().st_mtime_ns
    for settings in (("seed=3",), ("objective.sort=none",), ("data.batch_size=2", "lr=1")):
        sample(pooled(tmp_path, *settings), 1)
    assert path.stat().st_mtime_ns == before
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize(
    "change",
    ["data.lengths=[2.0]", "data.crop.flip=0.5", "data.sources.0.pool=5", "data.sources.0.frames=2",
     "data.sources.0.stories={undone_share: 0}", "data.sources.0.split=val", "objective.segments=3"],
)  # fmt: skip
def test_other_samples_are_another_pool(tmp_path: Path, change: str) -> None:
    pooled(tmp_path)
    pooled(tmp_path, change)
    assert len(files(tmp_path)) == 2


def test_a_pool_of_another_version_of_the_world_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pooled(tmp_path)
    before = files(tmp_path)
    monkeypatch.setattr(world, "GENERATOR_VERSION", world.GENERATOR_VERSION + 1)
    sample(pooled(tmp_path), 0)
    assert before < files(tmp_path)


def test_batches_are_a_function_of_seed_and_step(tmp_path: Path) -> None:
    def batches(seed: int, start: int, stop: int) -> list[NarratedBatch]:
        config, _ = tiny(tmp_path, POOL, f"seed={seed}", "data.batch_size=3")
        sources = build_sources(config, tmp_path)
        loader = build_loader(config, sources, build_tokenizer(config, sources), Rank(), workers=0)
        return list(loader.batches(start, stop))

    whole, later, other = batches(0, 0, 6), batches(0, 4, 6), batches(1, 0, 6)
    for one, two in zip(whole[4:], later, strict=True):
        assert torch.equal(one.clips, two.clips)
        assert torch.equal(one.input_ids, two.input_ids)
    assert [each.ids for each in whole] != [each.ids for each in other]
    assert sorted(id for batch in whole[:2] for id in batch.ids) == sorted(set(whole[0].ids) | set(whole[1].ids))


def test_it_crosses_processes_without_its_frames(tmp_path: Path) -> None:
    source = pooled(tmp_path)
    expected = sample(source, 3)
    sent = pickle.dumps(source)
    assert len(sent) < 4_000
    found = sample(pickle.loads(sent), 3)  # noqa: S301 - our own, of a moment ago
    assert found.texts == expected.texts
    assert torch.equal(found.clip, expected.clip)


@pytest.mark.parametrize("damage", [b"", b"not a file of tensors", None])
def test_a_damaged_pool_is_made_again(tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture) -> None:
    expected = sample(pooled(tmp_path), 2)
    (path,) = tmp_path.glob("story-pools/*.safetensors")
    whole = path.read_bytes()
    path.unlink()  # `expected` is mapped from it
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    found = sample(pooled(tmp_path), 2)
    assert torch.equal(found.clip, expected.clip)
    assert path.read_bytes() == whole
    assert "is damaged: made again" in caplog.text


def test_nonsense_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pool must be at least 1 or left out, got 0"):
        SourceConfig(kind="scripted_motion_drawn", pool=0)
    with pytest.raises(UserError, match="a pool holds what is drawn, and webvid is read from files"):
        SourceConfig(kind="webvid", root=tmp_path, pool=4)
    config, _ = compose("scripted_motion_quick", ["data.sources.0.split=val", "data.sources.0.pool=1001"])
    with pytest.raises(UserError, match="pool=1001 is more than the 1000 stories of split val"):
        build_sources(config, tmp_path)
    with pytest.raises(UserError, match="topic_share is a percentage from 0 to 100, got 200"):
        tiny(tmp_path, "data.sources.0.stories={topic_share: 200}")


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    config, _ = tiny(tmp_path, POOL)
    with pytest.raises(UserError, match=r"cannot keep a pool of 6 stories in .*file.*TVTS_BENCH_CACHE"):
        build_sources(config, tmp_path / "file")
