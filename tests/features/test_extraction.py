"""Extraction as its callers see it: the right numbers, nothing done twice, nothing lost, everything listed."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor

from tests.support.feature_world import SPEC, HangingPath, Linear, Unusable, run, stored_files, write_video
from tvts_bench.backbones.base import BackboneError
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.features.store import locked
from tvts_bench.runtime import Runtime
from tvts_bench.video.clips import load_clip
from tvts_bench.video.transforms import normalise

NOT_FINITE = "features are not finite (NaN or inf)"


class Counted:
    """A `Progress` that remembers what was reported to it."""

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.done = 0

    def __call__(self, total: int, unit: str, description: str) -> AbstractContextManager[Callable[[int], None]]:
        @contextmanager
        def loop() -> Iterator[Callable[[int], None]]:
            self.totals.append(total)
            yield self.advance

        return loop()

    def advance(self, count: int) -> None:
        self.done += count


def test_features_are_those_of_each_file_by_itself(records: list[VideoRecord], runtime: Runtime) -> None:
    features = run(Linear(), records, replace(runtime, workers=2))
    assert features.ids == tuple(record.id for record in records)
    assert features.labels.tolist() == [record.label for record in records]
    assert features.groups == tuple(record.group for record in records)
    assert features.values.dtype == np.float32
    assert (features.reused, features.computed, features.failed) == (0, 150, {})
    assert sum(features.decoders.values()) == 150
    weight = Linear().weight.detach().numpy().astype(np.float64)
    mean, std = (np.array(side).reshape(3, 1, 1, 1) for side in (SPEC.mean, SPEC.std))
    for record, value in list(zip(records, features.values, strict=True))[::7]:
        pixels = load_clip(record.path, record.id, SPEC, "pyav").pixels[0].numpy() / 255
        np.testing.assert_allclose(value, weight @ ((pixels - mean) / std).ravel(), rtol=1e-4, atol=1e-4)


def test_several_views_are_averaged(records: list[VideoRecord], runtime: Runtime) -> None:
    spec = replace(SPEC, temporal_views=2, spatial_views=3)
    features = run(Linear(), records[:5], replace(runtime, batch_size=4), clip=spec)
    mean, std = (torch.tensor(side).view(3, 1, 1, 1) for side in (SPEC.mean, SPEC.std))
    for record, value in zip(records, features.values, strict=False):
        views = load_clip(record.path, record.id, spec, "pyav").pixels
        right = Linear()((views / 255 - mean) / std).mean(dim=0)
        torch.testing.assert_close(torch.from_numpy(value), right.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 500])
def test_the_batch_size_changes_nothing_that_counts(
    records: list[VideoRecord], runtime: Runtime, tmp_path: Path, batch_size: int
) -> None:
    once = run(Linear(), records[:70], runtime)
    again = run(Linear(), records[:70], replace(runtime, batch_size=batch_size, cache=tmp_path / "other"))
    np.testing.assert_allclose(once.values, again.values, rtol=1e-5, atol=1e-5)


def test_bf16_is_close_to_fp32_and_kept_apart(records: list[VideoRecord], runtime: Runtime) -> None:
    full, reduced = (run(Linear(), records[:20], runtime, dtype=dtype).values for dtype in ("fp32", "bf16"))
    cosine = (full * reduced).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(reduced, axis=1)
    assert cosine.min() > 0.999
    assert not np.array_equal(full, reduced)


def test_a_second_run_reads_the_store_and_computes_nothing(records: list[VideoRecord], runtime: Runtime) -> None:
    counted = Counted()
    first = run(Linear(), records, replace(runtime, progress=counted))
    assert (counted.totals, counted.done) == ([150], 150)
    second = run(Unusable(), records, replace(runtime, progress=counted))
    assert second.values.tobytes() == first.values.tobytes()
    assert (second.ids, second.decoders) == (first.ids, first.decoders)
    assert (second.reused, second.computed, counted.totals) == (150, 0, [150])


def test_only_the_shard_of_a_changed_file_is_computed_again(records: list[VideoRecord], runtime: Runtime) -> None:
    alone = write_video(records[0].path.with_name("alone.mp4"), 100)
    records[70] = replace(records[70], path=alone)
    first = run(Linear(), records, runtime)
    write_video(alone, 101, frames=9)
    second = run(Linear(), records, runtime)
    assert (second.reused, second.computed) == (150 - 64, 64)
    changed = np.flatnonzero((first.values != second.values).any(axis=1))
    assert changed.tolist() == [70]


def test_unreadable_clips_are_listed_with_the_reason_and_not_tried_again(
    records: list[VideoRecord], runtime: Runtime, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(records[0].path.read_bytes()[:300])
    for index in (5, 64, 149):
        records[index] = replace(records[index], path=broken)
    features = run(Linear(), records, runtime)
    assert list(features.failed) == [records[index].id for index in (5, 64, 149)]
    assert all(str(broken) in reason for reason in features.failed.values())
    assert len(features.ids) == len(features.values) == len(features.labels) == len(features.groups) == 147
    assert records[5].id not in features.ids
    again = run(Unusable(), records, runtime)
    assert again.failed == features.failed
    assert again.computed == 0


def test_failures_due_to_the_moment_are_tried_again(records: list[VideoRecord], runtime: Runtime) -> None:
    hanging = [*records[:70], replace(records[70], path=HangingPath(records[70].path)), *records[71:]]
    runtime = replace(runtime, workers=2, clip_timeout=1.5)
    features = run(Linear(), hanging, runtime)
    assert features.failed == {records[70].id: f"decoding {records[70].path} timed out after 1.5 s"}
    assert features.transient == (records[70].id,)
    assert features.files is not None
    assert features.files.contents is None  # one of them could not be read
    later = run(Linear(), records, runtime)
    assert not later.failed
    assert not later.transient
    assert (later.reused, later.computed) == (150 - 64, 64)


def test_features_that_are_not_finite_are_failures(records: list[VideoRecord], runtime: Runtime) -> None:
    class Overflowing(Linear):
        def forward(self, clips: Tensor) -> Tensor:
            values = super().forward(clips).clone()
            values[(clips == hated).flatten(1).all(1), 3] = float("nan")
            return values

    hated = normalise(load_clip(records[1].path, records[1].id, SPEC, "pyav").pixels, SPEC.mean, SPEC.std)
    features = run(Overflowing(), records[:10], runtime)
    assert features.failed == {"v001": NOT_FINITE, "v006": NOT_FINITE}  # five files: 1 and 6 are the same
    assert features.ids == ("v000", "v002", "v003", "v004", "v005", "v007", "v008", "v009")
    assert np.isfinite(features.values).all()
    assert run(Unusable(), records[:10], runtime).failed == features.failed


def test_too_little_memory_names_the_batch_size(records: list[VideoRecord], runtime: Runtime) -> None:
    class Large(Linear):
        def forward(self, clips: Tensor) -> Tensor:
            return torch.empty(2**60, device=clips.device)

    with pytest.raises(UserError, match=r"^cpu has not enough memory for --batch-size 16: .*smaller --batch-size"):
        run(Large(), records[:3], runtime)


def test_a_backbone_that_breaks_its_promise_is_refused(records: list[VideoRecord], runtime: Runtime) -> None:
    class Flat(Linear):
        def forward(self, clips: Tensor) -> Tensor:
            return clips.flatten()

    with pytest.raises(BackboneError, match="linear returned"):
        run(Flat(), records[:3], runtime)


def test_the_backbone_keeps_its_mode(records: list[VideoRecord], runtime: Runtime) -> None:
    class Curious(Linear):
        def forward(self, clips: Tensor) -> Tensor:
            assert not self.training
            assert not torch.is_grad_enabled()
            return super().forward(clips)

    backbone = Curious().train()
    run(backbone, records[:3], runtime)
    assert backbone.training


def test_a_store_in_use_is_refused_but_a_complete_one_is_read(records: list[VideoRecord], runtime: Runtime) -> None:
    first = run(Linear(), records[:10], runtime)
    (folder,) = (runtime.cache / "features").iterdir()
    with locked(folder):
        assert run(Unusable(), records[:10], runtime).values.tobytes() == first.values.tobytes()
        with pytest.raises(UserError, match=rf"process {os.getpid()} on .* is writing the feature store {folder}"):
            run(Linear(), records[:11], runtime)


def test_ctrl_c_stops_the_workers_and_keeps_what_is_finished(
    records: list[VideoRecord], runtime: Runtime, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start without it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    class Interrupted(Linear):
        def forward(self, clips: Tensor) -> Tensor:
            values = super().forward(clips)
            if self.clips > 100:
                started.extend(worker for server in psutil.Process().children() for worker in server.children())
                signal.raise_signal(signal.SIGINT)
            return values

    started: list[psutil.Process] = []
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(KeyboardInterrupt):
        run(Interrupted(), records, replace(runtime, workers=2))
    assert len(started) == 2
    assert not psutil.wait_procs(started, timeout=5)[1]
    assert len(stored_files(runtime.cache)) == 1
    with caplog.at_level(logging.WARNING):
        assert run(Linear(), records, runtime).reused == 64
    assert not caplog.text


def test_a_damaged_shard_is_computed_again_and_reported(
    records: list[VideoRecord], runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    first = run(Linear(), records, runtime)
    before = stored_files(runtime.cache)
    damaged = sorted(runtime.cache.glob("features/*/*.safetensors"))[1]
    damaged.write_bytes(damaged.read_bytes()[:-10])
    second = run(Linear(), records, runtime)
    assert second.values.tobytes() == first.values.tobytes()
    assert (second.reused, second.computed) == (150 - 64, 64)
    assert f"{damaged} is damaged" in caplog.text
    assert stored_files(runtime.cache).keys() == before.keys()


def test_no_records_no_features(runtime: Runtime) -> None:
    features = run(Unusable(), [], runtime)
    assert features.values.shape == (0, 8)
    assert features.ids == ()


def test_a_batch_beyond_the_clips_takes_no_memory(records: list[VideoRecord], runtime: Runtime, tmp_path: Path) -> None:
    """A batch of 10**12 clips would take more than any machine has."""
    once = run(Linear(), records[:70], replace(runtime, batch_size=64))
    again = run(Linear(), records[:70], replace(runtime, batch_size=10**12, cache=tmp_path / "other"))
    assert again.values.tobytes() == once.values.tobytes()


class Hungry(Linear):
    """Asks for more memory than any machine has."""

    def forward(self, clips: Tensor) -> Tensor:
        return torch.empty(2**50)


class Empty(Linear):
    """Cannot even get memory for a list."""

    def forward(self, clips: Tensor) -> Tensor:
        raise MemoryError


@pytest.mark.parametrize("backbone", [Hungry, Empty])
def test_want_of_memory_is_one_sentence_with_a_way_out(
    records: list[VideoRecord], runtime: Runtime, backbone: type[Linear]
) -> None:
    with pytest.raises(UserError, match=r"^cpu has not enough memory for --batch-size 16: .*smaller --batch-size$"):
        run(backbone(), records[:3], runtime)
