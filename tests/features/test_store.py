"""Shards on disk: what names them, what makes one invalid, and that a damaged one is never believed."""

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tvts_bench.datasets.base import VideoRecord
from tvts_bench.features.base import Failure, FeatureError, FeatureKey
from tvts_bench.features.store import FeatureStore, Shard, plan_shards
from tvts_bench.video.spec import ClipSpec

KEY = FeatureKey(
    backbone="toy",
    weights="0" * 64,
    tensors="1" * 64,
    clip=ClipSpec(),
    decoder="d 1",
    records="f" * 64,
    dtype="fp32",
)


def records(folder: Path, count: int) -> list[VideoRecord]:
    """Records of small files whose content does not matter here."""
    folder.mkdir()
    for index in range(count):
        (folder / f"{index}").write_bytes(b"x" * (index + 1))
    return [VideoRecord(id=f"v{index}", path=folder / f"{index}", label=0) for index in range(count)]


def shard_of(some: list[VideoRecord]) -> Shard:
    """Features of all but the first record, which failed."""
    values = np.random.default_rng(0).standard_normal((len(some) - 1, 5)).astype(np.float32)
    failures = {some[0].id: Failure(reason="cut off \u2014 \udcff", retry=True)}
    ids = tuple(record.id for record in some[1:])
    return Shard(ids=ids, values=values, failures=failures, decoders={"d 1": len(ids)}, computed_by="cpu")


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    prepared = FeatureStore(tmp_path / "features", KEY)
    prepared.prepare()
    return prepared


def test_shards_hold_64_records_each_in_order(tmp_path: Path) -> None:
    plans = plan_shards(records(tmp_path / "data", 130))
    assert [len(plan.records) for plan in plans] == [64, 64, 2]
    assert [record.id for plan in plans for record in plan.records] == [f"v{index}" for index in range(130)]
    assert plan_shards([]) == []


@pytest.mark.parametrize("change", ["grown", "touched", "removed", "renamed"])
def test_a_change_of_one_file_renames_its_shard_alone(tmp_path: Path, change: str) -> None:
    some = records(tmp_path / "data", 130)
    before = [plan.name for plan in plan_shards(some)]
    assert [plan.name for plan in plan_shards(some)] == before
    path = some[70].path
    if change == "grown":
        status = path.stat()
        path.write_bytes(b"longer" * 100)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "touched":
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    elif change == "removed":
        path.unlink()
    else:
        some[70] = replace(some[70], id="another")
    after = [plan.name for plan in plan_shards(some)]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


def test_a_shard_comes_back_as_it_was_written(store: FeatureStore, tmp_path: Path) -> None:
    some = records(tmp_path / "data", 7)
    (plan,), shard = plan_shards(some), shard_of(some)
    assert store.read(plan) is None
    store.write(plan, shard)
    found = store.read(plan)
    assert found is not None
    assert found.values.tobytes() == shard.values.tobytes()
    assert (found.ids, found.failures, found.decoders) == (shard.ids, shard.failures, shard.decoders)
    assert not found.settled


def test_a_shard_of_failures_only_has_no_values(store: FeatureStore, tmp_path: Path) -> None:
    some = records(tmp_path / "data", 1)
    (plan,) = plan_shards(some)
    empty = np.empty((0, 5), dtype=np.float32)
    store.write(
        plan, Shard(ids=(), values=empty, failures={"v0": Failure(reason="empty")}, decoders={}, computed_by="cpu")
    )
    found = store.read(plan)
    assert found is not None
    assert found.values.shape == (0, 5)
    assert found.settled


def test_a_damaged_shard_is_reported_and_not_read(
    store: FeatureStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some = records(tmp_path / "data", 7)
    (plan,) = plan_shards(some)
    store.write(plan, shard_of(some))
    path = store.folder / plan.name
    whole = path.read_bytes()
    # Every byte counts; the first eight are the header's length.
    damaged = [whole[:cut] for cut in (0, 5, 100, len(whole) - 1)]
    flipped = (0, 40, len(whole) - 60, len(whole) - 1)
    damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in flipped]
    damaged.append(whole + b"\0")
    for content in damaged:
        path.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert store.read(plan) is None
        assert f"{path} is damaged" in caplog.text
    path.write_bytes(whole)
    assert store.read(plan) is not None


def test_the_folder_depends_on_every_part_of_the_key_and_says_what_it_is(store: FeatureStore, tmp_path: Path) -> None:
    others = [
        replace(KEY, backbone="b"),
        replace(KEY, weights="1"),
        replace(KEY, tensors="2"),
        replace(KEY, clip=ClipSpec(seed=1)),
        replace(KEY, decoder="d 2"),
        replace(KEY, records="r"),
        replace(KEY, dtype="bf16"),
    ]
    folders = {store.folder} | {FeatureStore(tmp_path / "features", key).folder for key in others}
    assert len(folders) == 1 + len(others)
    written = json.loads((store.folder / "key.json").read_text())
    assert written["decoder"] == "d 1"
    assert written["clip"]["num_frames"] == 16


def test_what_a_killed_run_left_half_written_is_removed(store: FeatureStore, tmp_path: Path) -> None:
    (plan,) = plan_shards(records(tmp_path / "data", 2))
    leftover = store.folder / f"{plan.name}.4711.tmp"
    leftover.write_bytes(b"half")
    assert store.read(plan) is None
    store.prepare()
    assert [path.name for path in store.folder.iterdir()] == ["key.json"]


def test_a_cache_that_cannot_be_a_folder_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(FeatureError, match=r"cannot write features to .*file.features.*--cache DIR"):
        FeatureStore(file / "features", KEY).prepare()
