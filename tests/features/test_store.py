"""Shards on disk: what names them, what makes one invalid, and that a damaged one is never believed."""

import errno
import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tvts_bench.datasets.base import VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.features.base import Failure, FeatureKey
from tvts_bench.features.store import FeatureStore, Shard, ShardPlan, pack, plan_shards, unpack
from tvts_bench.snapshot import content_sha256, file_signatures
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


def plans_of(some: list[VideoRecord]) -> list[ShardPlan]:
    return plan_shards(some, file_signatures({record.id: record.path for record in some}))


def shard_of(some: list[VideoRecord]) -> Shard:
    """Features of all but the first record, which failed."""
    values = np.random.default_rng(0).standard_normal((len(some) - 1, 5)).astype(np.float32)
    failures = {some[0].id: Failure(reason="cut off \u2014 \udcff", retry=True)}
    ids = tuple(record.id for record in some[1:])
    contents = {record.id: content_sha256(record.path) or "" for record in some}
    return Shard(
        ids=ids, values=values, failures=failures, decoders={"d 1": len(ids)}, computed_by="cpu", contents=contents
    )


def settled(some: list[VideoRecord]) -> Shard:
    """`shard_of`, with a failure that stays."""
    return replace(shard_of(some), failures={some[0].id: Failure(reason="cut off")})


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    prepared = FeatureStore(tmp_path / "features", KEY, 5)
    prepared.prepare()
    return prepared


def test_shards_hold_64_records_each_in_order(tmp_path: Path) -> None:
    plans = plans_of(records(tmp_path / "data", 130))
    assert [len(plan.records) for plan in plans] == [64, 64, 2]
    assert [record.id for plan in plans for record in plan.records] == [f"v{index}" for index in range(130)]
    assert plans_of([]) == []


@pytest.mark.parametrize("change", ["grown", "touched", "replaced", "removed", "renamed"])
def test_a_change_of_one_file_renames_its_shard_alone(tmp_path: Path, change: str) -> None:
    some = records(tmp_path / "data", 130)
    before = [plan.name for plan in plans_of(some)]
    assert [plan.name for plan in plans_of(some)] == before
    path = some[70].path
    if change == "grown":
        status = path.stat()
        path.write_bytes(b"longer" * 100)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "touched":
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    elif change == "replaced":  # same size, same time: the time of the inode's change cannot be set
        status = path.stat()
        path.write_bytes(b"y" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "removed":
        path.unlink()
    else:
        some[70] = replace(some[70], id="another")
    after = [plan.name for plan in plans_of(some)]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


def test_a_shard_comes_back_as_it_was_written(store: FeatureStore, tmp_path: Path) -> None:
    some = records(tmp_path / "data", 7)
    (plan,), shard = plans_of(some), shard_of(some)
    assert store.read(plan) is None
    store.write(plan, shard)
    stored = store.read(plan)
    assert stored is not None
    assert stored.values.tobytes() == shard.values.tobytes()
    assert (stored.ids, stored.failures, stored.decoders) == (shard.ids, shard.failures, shard.decoders)
    assert stored.contents == shard.contents
    assert not stored.settled


def test_a_shard_of_failures_only_has_no_values(store: FeatureStore, tmp_path: Path) -> None:
    some = records(tmp_path / "data", 1)
    (plan,) = plans_of(some)
    empty = np.empty((0, 5), dtype=np.float32)
    store.write(
        plan,
        Shard(
            ids=(),
            values=empty,
            failures={"v0": Failure(reason="empty")},
            decoders={},
            computed_by="cpu",
            contents={},
        ),
    )
    stored = store.read(plan)
    assert stored is not None
    assert stored.values.shape == (0, 5)
    assert stored.settled


def test_a_damaged_shard_is_reported_and_not_read(
    store: FeatureStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some = records(tmp_path / "data", 7)
    (plan,) = plans_of(some)
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
            assert FeatureStore(tmp_path / "features", KEY, 5).read(plan) is None
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
    folders = {store.folder} | {FeatureStore(tmp_path / "features", key, 5).folder for key in others}
    assert len(folders) == 1 + len(others)
    written = json.loads((store.folder / "key.json").read_text())
    assert written["decoder"] == "d 1"
    assert written["clip"]["num_frames"] == 16


def test_what_a_killed_run_left_half_written_is_removed(store: FeatureStore, tmp_path: Path) -> None:
    (plan,) = plans_of(records(tmp_path / "data", 2))
    leftover = store.folder / f"{plan.name}.4711.tmp"
    leftover.write_bytes(b"half")
    assert store.read(plan) is None
    store.prepare()
    assert [path.name for path in store.folder.iterdir()] == ["key.json"]


def test_a_cache_that_cannot_be_a_folder_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write features to .*file.features.*--cache DIR"):
        FeatureStore(file / "features", KEY, 5).prepare()


def copied(some: list[VideoRecord], folder: Path) -> list[VideoRecord]:
    """The same records in a copy of their files."""
    folder.mkdir()
    return [replace(record, path=Path(shutil.copy(record.path, folder))) for record in some]


def test_a_copy_of_the_files_takes_over_what_was_computed_and_the_first_stays(
    store: FeatureStore, tmp_path: Path
) -> None:
    some = records(tmp_path / "data", 70)
    some[3].path.unlink()
    first = plans_of(some)
    missing = {"v3": Failure(reason="no such file")}
    whole = settled(records(tmp_path / "other", 64))
    contents = {name: content for name, content in whole.contents.items() if name != "v3"}
    keep = [index for index, name in enumerate(whole.ids) if name != "v3"]
    shard = replace(
        whole,
        ids=tuple(whole.ids[index] for index in keep),
        values=whole.values[keep],
        failures={**whole.failures, **missing},
        contents=contents,
    )
    store.write(first[0], shard)
    (tmp_path / "copy").mkdir()
    copies = [replace(record, path=tmp_path / "copy" / record.path.name) for record in some]
    for record, copy in zip(some, copies, strict=True):
        if record.path.exists():
            shutil.copy(record.path, copy.path)
    plans = plans_of(copies)
    assert store.read(plans[0]) is None
    adopted = store.adopt(plans)
    assert list(adopted) == [plans[0].name]
    stored = store.read(plans[0])
    assert stored is not None
    assert stored.values.tobytes() == shard.values.tobytes()
    assert stored.failures == shard.failures
    assert store.read(first[0]) is not None


@pytest.mark.parametrize("change", ["content", "order", "name", "gone", "pipe", "arrived", "transient", "unknown"])
def test_what_is_not_the_same_content_is_not_taken_over(store: FeatureStore, tmp_path: Path, change: str) -> None:
    some = records(tmp_path / "data", 7)
    shard = shard_of(some) if change == "transient" else settled(some)
    copies = copied(some, tmp_path / "copy")
    if change in ("unknown", "arrived"):
        shard = replace(shard, contents={name: content for name, content in shard.contents.items() if name != "v2"})
    if change == "arrived":
        some[2].path.unlink()
    (plan,) = plans_of(some)
    store.write(plan, shard)
    if change == "content":
        copies[2].path.write_bytes(b"zzz")
    elif change == "order":
        copies[1], copies[2] = copies[2], copies[1]
    elif change == "name":
        copies[2] = replace(copies[2], id="another")
    elif change in ("gone", "pipe"):
        copies[2].path.unlink()
        if change == "pipe":
            os.mkfifo(copies[2].path)
    assert store.adopt(plans_of(copies)) == {}


def test_only_files_whose_signature_differs_are_read(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = records(tmp_path / "data", 7)
    (plan,) = plans_of(some)
    store.write(plan, settled(some))
    some[4].path.chmod(0o600)
    read: list[Path] = []

    def counted(path: Path) -> str | None:
        read.append(path)
        return content_sha256(path)

    monkeypatch.setattr("tvts_bench.features.store.content_sha256", counted)
    assert len(store.adopt(plans_of(some))) == 1
    assert read == [some[4].path]


def test_a_video_that_cannot_be_read_for_the_moment_takes_nothing_over(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = records(tmp_path / "data", 3)
    store.write(plans_of(some)[0], settled(some))
    copies = copied(some, tmp_path / "copy")

    def fails(path: Path) -> str:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    monkeypatch.setattr("tvts_bench.features.store.content_sha256", fails)
    assert store.adopt(plans_of(copies)) == {}


def test_a_shard_of_another_store_or_plan_or_width_is_damage(
    store: FeatureStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some = records(tmp_path / "data", 130)
    plans = plans_of(some)
    for plan in plans:
        store.write(plan, settled(list(plan.records)))
    other = FeatureStore(tmp_path / "features", replace(KEY, tensors="2" * 64), 5)
    other.prepare()
    other.write(plans[0], settled(list(plans[0].records)))
    first, second, third = (store.folder / plan.name for plan in plans)
    whole = first.read_bytes()
    assert whole != (other.folder / plans[0].name).read_bytes()
    first.write_bytes((other.folder / plans[0].name).read_bytes())
    assert store.read(plans[0]) is None
    assert f"{first} is damaged (it is of another store)" in caplog.text
    first.write_bytes(second.read_bytes())
    second.write_bytes(whole)
    caplog.clear()
    assert store.read(plans[1]) is None
    assert f"{second} is damaged (it is of other clips or files than its name says)" in caplog.text
    description, values = unpack(third)
    third.write_bytes(pack(description, values[:, :3]))
    assert store.read(plans[2]) is None
    assert f"{third} is damaged (it holds 1 ids and float32 values of shape [1, 3]" in caplog.text


@pytest.mark.parametrize("key", ["key", "files", "ids"])
def test_metadata_that_is_whole_but_no_shards_is_damage(
    store: FeatureStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    (plan,) = plans_of(records(tmp_path / "data", 7))
    store.write(plan, settled(list(plan.records)))
    path = store.folder / plan.name
    description, values = unpack(path)
    for wrong in (None, 7, [1, 2]):
        path.write_bytes(pack({**description, key: wrong}, values))
        assert store.read(plan) is None
        assert store.adopt([plan]) == {}
    assert f"{path} is damaged" in caplog.text


def test_a_store_of_an_older_layout_is_named_once_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    older = FeatureStore(tmp_path / "features", replace(KEY, version=KEY.version - 1), 5)
    older.prepare()
    (older.folder / "00000-old.safetensors").write_bytes(b"old")
    other = FeatureStore(tmp_path / "features", replace(KEY, version=KEY.version - 1, tensors="2" * 64), 5)
    other.prepare()
    for _ in range(2):
        FeatureStore(tmp_path / "features", KEY, 5).prepare()
    assert caplog.text.count(f"{older.folder} holds features of an older layout") == 1
    assert str(other.folder) not in caplog.text
    assert (older.folder / "00000-old.safetensors").read_bytes() == b"old"
