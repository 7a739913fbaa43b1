"""Several backbones over the same clips: each as if it had been alone, and every clip decoded once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from tests.support.feature_world import SPEC, Linear, Unusable, make_records, run, stored_files, write_video
from tvts_bench.backbones.base import Backbone
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.features.base import Features
from tvts_bench.features.decoding import Decoding, load_clips
from tvts_bench.features.extraction import extract
from tvts_bench.features.store import locked
from tvts_bench.runtime import Runtime

COUNT = 80  # two shards: 64 and 16


class Seeded(Linear):
    """`Linear` with other weights, and as many numbers per clip as requested."""

    def __init__(self, seed: int, embed_dim: int = 8) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        weight = torch.randn(embed_dim, 3 * 4 * 32 * 32, generator=torch.Generator().manual_seed(seed))
        self.weight = torch.nn.Parameter(weight / 64)


@pytest.fixture
def records(tmp_path: Path) -> list[VideoRecord]:
    return list(make_records(tmp_path / "videos", COUNT))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of all clips that were decoded, in order."""
    ids: list[str] = []

    def counted(records: Sequence[VideoRecord], decoding: Decoding) -> object:
        ids.extend(record.id for record in records)
        return load_clips(records, decoding)

    monkeypatch.setattr("tvts_bench.features.extraction.load_clips", counted)
    return ids


def run_all(backbones: Sequence[Backbone], records: Sequence[VideoRecord], runtime: Runtime) -> tuple[Features, ...]:
    return extract(backbones, records, "fingerprint", clip=SPEC, decoder="pyav", dtype="fp32", runtime=runtime)


def stores(runtime: Runtime) -> dict[str, tuple[dict[str, str], bytes]]:
    """What every shard under the cache folder holds, by folder and name. (Files differ in the order of metadata.)"""
    extracted = {}
    for path in runtime.cache.glob("features/*/*.safetensors"):
        with safe_open(path, framework="numpy") as file:
            extracted[str(path.relative_to(runtime.cache))] = (file.metadata(), file.get_tensor("values").tobytes())
    return extracted


def test_each_has_what_it_would_have_alone_to_the_bit(
    records: list[VideoRecord], runtime: Runtime, tmp_path: Path, decoded: list[str]
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(records[0].path.read_bytes()[:300])
    records[5] = replace(records[5], path=broken)
    backbones = [Seeded(1), Seeded(2, embed_dim=5), Seeded(3)]
    together = run_all(backbones, records, runtime)
    assert decoded == [record.id for record in records]
    assert [backbone.clips for backbone in backbones] == [COUNT - 1] * 3
    apart = replace(runtime, cache=tmp_path / "apart")
    for backbone, features in zip(backbones, together, strict=True):
        alone = run(backbone, records, apart)
        assert features.values.tobytes() == alone.values.tobytes()
        assert features.values.shape == (COUNT - 1, backbone.embed_dim)
        for name in ("ids", "groups", "failed", "decoders", "computed_by", "reused", "computed"):
            assert getattr(features, name) == getattr(alone, name), name
    assert stores(runtime) == stores(apart)
    assert len(stores(runtime)) == 3 * 2


def test_what_one_of_them_has_already_is_not_computed_again(
    records: list[VideoRecord], runtime: Runtime, decoded: list[str]
) -> None:
    run(Seeded(1), records, runtime)
    for path in sorted(runtime.cache.glob("features/*/00001-*.safetensors")):
        path.unlink()  # as after a run that was killed between its shards
    decoded.clear()
    first, second = Seeded(1), Seeded(2)
    one, two = run_all([first, second], records, runtime)
    assert decoded == [record.id for record in records]
    assert (first.clips, second.clips) == (COUNT - 64, COUNT)
    assert [(extracted.reused, extracted.computed) for extracted in (one, two)] == [(64, COUNT - 64), (0, COUNT)]
    decoded.clear()
    again = run_all([Seeded(2), Seeded(1)], records, runtime)
    assert not decoded
    assert [extracted.values.tobytes() for extracted in again] == [two.values.tobytes(), one.values.tobytes()]


def test_one_that_is_complete_is_left_alone(records: list[VideoRecord], runtime: Runtime) -> None:
    complete = run(Linear(), records, runtime)
    unusable = Unusable().train()
    extracted, other = run_all([unusable, Seeded(2)], records, runtime)
    assert extracted.values.tobytes() == complete.values.tobytes()
    assert (extracted.computed, other.computed) == (0, COUNT)
    assert unusable.training


def test_only_the_shard_of_a_changed_file_is_decoded(
    records: list[VideoRecord], runtime: Runtime, decoded: list[str]
) -> None:
    alone = write_video(records[0].path.with_name("alone.mp4"), 100)
    records[70] = replace(records[70], path=alone)
    run_all([Seeded(1), Seeded(2)], records, runtime)
    write_video(alone, 101, frames=9)
    decoded.clear()
    extracted = run_all([Seeded(1), Seeded(2)], records, runtime)
    assert decoded == [record.id for record in records[64:]]
    assert [(features.reused, features.computed) for features in extracted] == [(64, COUNT - 64)] * 2


def test_the_same_weights_twice_are_computed_once(records: list[VideoRecord], runtime: Runtime) -> None:
    backbones = [Seeded(1), Seeded(1)]
    one, two = run_all(backbones, records, runtime)
    assert one.values.tobytes() == two.values.tobytes()
    assert sum(backbone.clips for backbone in backbones) == COUNT


def test_features_that_are_not_finite_concern_their_backbone_only(records: list[VideoRecord], runtime: Runtime) -> None:
    class Overflowing(Seeded):
        def forward(self, clips: Tensor) -> Tensor:
            return super().forward(clips) / 0

    one, two = run_all([Overflowing(1), Seeded(2)], records, runtime)
    assert len(one.failed) == COUNT
    assert not two.failed
    assert len(two.ids) == COUNT


def test_an_interrupted_run_is_taken_up_where_it_was(records: list[VideoRecord], runtime: Runtime) -> None:
    class Interrupted(Seeded):
        def forward(self, clips: Tensor) -> Tensor:
            if self.clips >= 64:
                raise KeyboardInterrupt
            return super().forward(clips)

    with pytest.raises(KeyboardInterrupt):
        run_all([Seeded(1), Interrupted(2)], records, runtime)
    assert {name.rpartition("/")[2][:5] for name in stores(runtime)} == {"00000"}
    extracted = run_all([Seeded(1), Seeded(2)], records, runtime)
    assert [features.reused for features in extracted] == [64, 64]


def test_a_store_in_use_is_refused_and_the_others_are_free_again(records: list[VideoRecord], runtime: Runtime) -> None:
    run(Seeded(2), records[:1], runtime)
    (folder,) = (runtime.cache / "features").iterdir()
    backbones = [Seeded(1), Seeded(2)]
    changed = [replace(records[0], id="other"), *records[1:]]
    with locked(folder), pytest.raises(UserError, match=f"is writing the feature store {folder}"):
        run_all(backbones, changed, runtime)
    assert not any(backbone.clips for backbone in backbones)
    assert len(run_all(backbones, changed, runtime)) == 2


def test_no_backbones_no_features(records: list[VideoRecord], runtime: Runtime) -> None:
    assert run_all([], records, runtime) == ()
    assert not stored_files(runtime.cache)
