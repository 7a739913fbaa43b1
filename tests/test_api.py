"""The Python API: what `tvts_bench` offers, and what a result can do."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tvts_bench
from tests.support.plain_videos import write_plain_video
from tests.support.results import retrieval
from tvts_bench import Runtime, extract_features, load_backbone, load_dataset, load_result, load_results
from tvts_bench.evaluators.zero_shot_retrieval import ZeroShotRetrieval
from tvts_bench.results import Result, ResultError
from tvts_bench.results.result import Run

HITS = [[True], [False], [True]]


def test_everything_that_is_offered_is_there() -> None:
    for name in tvts_bench.__all__:
        assert getattr(tvts_bench, name) is not None
    assert {"compare", "load_result", "load_results", "extract_features", "Results"} <= set(tvts_bench.__all__)
    assert dir(tvts_bench) == sorted(tvts_bench.__all__)


def test_a_result_is_saved_read_again_and_shown(tmp_path: Path) -> None:
    result = retrieval(HITS)
    path = result.save(str(tmp_path / "out"))
    assert json.loads(path.read_text()) == json.loads(json.dumps(result.to_dict()))
    again = load_result(str(path))
    assert again == result
    assert again.run.key == result.run.key
    assert "| forward | 66.67 [65.7, 67.7] | 66.67 [65.7, 67.7] |" in result.summary()


def test_a_result_is_shown_on_one_screen() -> None:
    result = retrieval(HITS)
    assert repr(result).splitlines() == [
        f"scripted_motion-ssv2, zero_shot_retrieval, run {result.run.key[:12]}",
        "  tvts:a, a.safetensors",
        "  R@1 (forward) 66.67 [65.7, 67.7], chance 4.00",
        "  R@5 (forward) 66.67 [65.7, 67.7], chance 4.00",
        "  val: 3 of 3 clips used",
    ]
    many = replace(result, metrics=result.metrics * 50)
    assert len(repr(many).splitlines()) < 24
    assert "... and 88 more metrics" in repr(many)


def test_the_key_of_a_run_stays_what_it_was() -> None:
    run = Run(evaluator={"name": "x"}, backbone={"family": "y"}, dataset={"name": "z"}, decoder="d")
    assert run.key == "8cc7a1cfe79c323f88b3f35b5c5cd6270ac9a2f0d3c49fbc5761d2cc54a6861f"


def test_many_results_are_a_sequence_with_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        retrieval(HITS, backbone=name).save(tmp_path)
    results = load_results(tmp_path)
    assert [result.run.backbone["variant"] for result in results] == ["a", "b"]
    assert results.models == ("tvts:a", "tvts:b")
    assert repr(results).splitlines() == [
        "2 results of 2 models",
        "  tvts:a  scripted_motion-ssv2, R@1 (forward) 66.67 %",
        "  tvts:b  scripted_motion-ssv2, R@1 (forward) 66.67 %",
    ]
    assert results.to_pandas()["metric"].tolist() == ["R@1", "R@5"] * 2
    assert results.rank()["mean rank"].tolist() == [1.5, 1.5]
    assert results.rank("R@5").columns.tolist() == ["mean rank", "scripted_motion-ssv2 val, zero-shot retrieval, R@5"]
    assert results.compare(baseline="b")[0].verdicts[0].sentence.startswith("R@1: no difference seen between tvts:a")


def test_two_files_of_one_family_are_told_apart() -> None:
    """By their file, their folder, and at last their hash."""

    def of(weights: str, sha256: str, path: str | None = None) -> Result:
        result = retrieval(HITS)
        backbone = {**result.run.backbone, "weights": weights, "sha256": sha256 * 64, "tensors_sha256": sha256}
        provenance = {**result.provenance, **({"weights_path": path} if path else {})}
        return replace(result, run=replace(result.run, backbone=backbone), provenance=provenance)

    assert load_results([of("x.pth", "1"), of("y.pth", "2")]).models == ("tvts:a, x.pth", "tvts:a, y.pth")
    folders = load_results([of("x.pth", "1", "/runs/one/x.pth"), of("x.pth", "2", "/runs/two/x.pth")])
    assert folders.models == ("tvts:a, one/x.pth", "tvts:a, two/x.pth")
    hashes = load_results([of("x.pth", "1"), of("x.pth", "2")])
    assert hashes.models == ("tvts:a, x.pth, sha256 11111111", "tvts:a, x.pth, sha256 22222222")


def test_a_name_that_a_run_was_given_is_its_models() -> None:
    result = retrieval(HITS)
    named = replace(result, provenance={**result.provenance, "name": "ours"})
    assert load_results(named).models == ("ours",)


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(ResultError, match="not a result file of tvts-bench"):
        load_result(tmp_path / "x.json")


def test_features_come_as_arrays_and_a_frame(tmp_path: Path) -> None:
    for shade in range(3):
        write_plain_video(tmp_path / "videos" / "red" / f"{shade}.mp4", (200 + 10 * shade, 20, 20))
        write_plain_video(tmp_path / "videos" / "blue" / f"{shade}.mp4", (20, 20, 200 + 10 * shade))
    (tmp_path / "videos" / "red" / "broken.mp4").write_bytes(b"no video")
    runtime = Runtime(workers=0, cache=tmp_path / "cache")
    backbone, dataset = load_backbone("pixels"), load_dataset("folder", tmp_path / "videos")
    values, labels, frame = extract_features(backbone, dataset, runtime=runtime)
    assert values.shape == (6, backbone.embed_dim)
    assert values.dtype == np.float32
    assert frame["id"].tolist() == [f"{name}/{shade}.mp4" for name in ("blue", "red") for shade in range(3)]
    assert frame["class"].tolist() == ["blue"] * 3 + ["red"] * 3
    assert frame["label"].tolist() == labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert list(frame.attrs["failed"]) == ["red/broken.mp4"]


def test_cost_and_speed_are_recorded_beside_the_run_and_not_in_its_key(tmp_path: Path) -> None:
    for shade in range(2):
        write_plain_video(tmp_path / "videos" / "red" / f"{shade}.mp4", (200 + 10 * shade, 20, 20))
    runtime = Runtime(workers=0, cache=tmp_path / "cache")
    backbone, dataset = load_backbone("tvts:tiny"), load_dataset("folder", tmp_path / "videos")
    protocol = ZeroShotRetrieval(ks=(1,))
    first = tvts_bench.evaluate(backbone, dataset, protocol, runtime)
    assert first.provenance["cost"]["parameters"] == sum(each.numel() for each in backbone.parameters())
    assert first.provenance["cost"]["gmacs_per_clip"] > 0
    assert first.provenance["clips_per_second"] > 0
    again = tvts_bench.evaluate(backbone, dataset, protocol, runtime)
    assert "clips_per_second" not in again.provenance, "nothing was computed"
    assert again.run.key == first.run.key
