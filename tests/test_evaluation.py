"""Several backbones evaluated together: the results of each alone, from clips that are decoded once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.colours import colours_info
from tests.support.plain_videos import write_plain_video
from tvts_bench import as_backbone, evaluate, evaluate_all, load_backbone
from tvts_bench.backbones.base import Backbone, BackboneError
from tvts_bench.datasets.base import Dataset, VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.evaluation import plan
from tvts_bench.evaluators.base import Evaluator, FromFeatures
from tvts_bench.evaluators.cached_probe import CachedProbe
from tvts_bench.evaluators.finetune import Finetune
from tvts_bench.evaluators.zero_shot_retrieval import ZeroShotRetrieval
from tvts_bench.features.decoding import Decoding, load_clips
from tvts_bench.results import as_json
from tvts_bench.runtime import Runtime
from tvts_bench.training.recipe import Recipe

COLOURS = {"red": (220, 20, 20), "blue": (20, 20, 220)}
INFO = colours_info("train", "test", num_classes=2)
RETRIEVAL = ZeroShotRetrieval(decoder="pyav", ks=(1,))


@pytest.fixture
def colours(tmp_path: Path) -> Dataset:
    """Four clips of each colour in each split; one of the test clips cannot be read."""

    def records(split: str) -> tuple[VideoRecord, ...]:
        return tuple(
            VideoRecord(
                id=f"{split}/{name}{shade}",
                path=write_plain_video(
                    tmp_path / split / f"{name}{shade}.mp4", [value + 8 * shade for value in colour]
                ),
                label=label,
            )
            for label, (name, colour) in enumerate(COLOURS.items())
            for shade in range(4)
        )

    splits = {split: records(split) for split in INFO.splits}
    splits["test"][-1].path.write_bytes(b"no video")
    readers: dict[str, Any] = {name: (lambda found=found: found) for name, found in splits.items()}
    return Dataset(name="colours", root=tmp_path, class_names=tuple(COLOURS), info=INFO, readers=readers)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(workers=0, cache=tmp_path / "cache")


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many clips each pass over the videos decoded."""
    counts: list[int] = []

    def counted(records: Sequence[VideoRecord], decoding: Decoding) -> object:
        counts.append(len(records))
        return load_clips(records, decoding)

    monkeypatch.setattr("tvts_bench.features.extraction.load_clips", counted)
    return counts


def backbones() -> list[Backbone]:
    """Two that read the same clips, and one that reads its own."""
    tiny = [load_backbone("tvts:tiny", seed=seed) for seed in (0, 1)]
    pixels = load_backbone("pixels")
    return [*tiny, as_backbone(pixels, "other", replace(pixels.clip_spec, num_frames=4))]


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """A result without the times it was made at and in."""
    return {**document, "provenance": {**document["provenance"], "created": None, "clips_per_second": None}}


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        (RETRIEVAL, [8, 8]),
        (replace(RETRIEVAL, controls=("shuffled",)), [8, 8, 8, 8]),
        (replace(RETRIEVAL, gallery_split="train"), [8, 8, 8, 8]),
        (CachedProbe(decoder="pyav", heads=("knn",), held_out=0.25), [8, 8, 8, 8]),
    ],
    ids=["retrieval", "with a control", "against a gallery", "cached probe"],
)
def test_results_are_those_of_each_alone(
    protocol: Evaluator, expected: list[int], colours: Dataset, runtime: Runtime, tmp_path: Path, passes: list[int]
) -> None:
    together = evaluate_all(backbones(), colours, protocol, runtime)
    assert passes == expected  # one for the two that share it, one for the third
    for backbone, result in zip(backbones(), together, strict=True):
        alone = evaluate(backbone, colours, protocol, replace(runtime, cache=tmp_path / backbone.weights.sha256))
        assert comparable(as_json(result)) == comparable(as_json(alone))


def test_what_cannot_be_measured_is_said_before_anything_is_decoded(
    colours: Dataset, runtime: Runtime, passes: list[int]
) -> None:
    with pytest.raises(UserError, match="--k 9 is larger than the gallery"):
        evaluate_all(backbones(), colours, replace(RETRIEVAL, ks=(9,)), runtime)
    with pytest.raises(UserError, match="1 of 8 clips of test cannot be measured"):
        evaluate_all(backbones(), colours, RETRIEVAL, replace(runtime, strict=True))
    assert passes == [8]


@pytest.mark.parametrize(
    "protocol",
    [
        RETRIEVAL,
        replace(RETRIEVAL, gallery_split="train"),
        CachedProbe(decoder="pyav", heads=("knn",), held_out=0.25),
        Finetune(decoder="pyav", recipe=Recipe(epochs=1, warmup_epochs=0, batch_size=8, best="last", views="1x1")),
    ],
    ids=["retrieval", "against a gallery", "cached probe", "fine-tuning"],
)
def test_the_key_is_known_before_anything_is_read(
    protocol: Evaluator, colours: Dataset, runtime: Runtime, passes: list[int]
) -> None:
    backbone = load_backbone("tvts:tiny")
    planned = plan(backbone, colours, protocol)
    assert not passes
    assert evaluate(backbone, colours, protocol, runtime).run == planned
    assert plan(backbone, colours, replace(protocol, decoder="decord")).key != planned.key  # type: ignore[type-var]


def test_only_protocols_of_frozen_features_can_share_clips() -> None:
    assert isinstance(ZeroShotRetrieval(), FromFeatures)
    assert isinstance(CachedProbe(), FromFeatures)
    assert not isinstance(Finetune(), FromFeatures)


def test_no_backbones_no_results(colours: Dataset, runtime: Runtime) -> None:
    assert evaluate_all([], colours, RETRIEVAL, runtime) == ()


@pytest.mark.parametrize(
    "protocol",
    [
        RETRIEVAL,
        CachedProbe(decoder="pyav", heads=("knn",), held_out=0.25),
        Finetune(decoder="pyav", recipe=Recipe(epochs=1, warmup_epochs=0, batch_size=8, best="last", views="1x1")),
    ],
    ids=["retrieval", "cached probe", "fine-tuning"],
)
def test_what_a_backbone_changes_of_itself_is_in_the_result(
    protocol: Any, colours: Dataset, runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = load_backbone("tvts:tiny")
    result = evaluate(backbone, colours, replace(protocol, clip=replace(backbone.clip_spec, num_frames=4)), runtime)
    note = "tvts:tiny: clips of 4 frames use the first 2 of 8 temporal embeddings"
    assert note in result.notes
    assert note in caplog.text
    assert not any("embeddings" in note for note in evaluate(backbone, colours, RETRIEVAL, runtime).notes)


@pytest.mark.parametrize("clip", [{"crop": 16}, {"num_frames": 5}, {"num_frames": 18}])
def test_clips_that_a_backbone_cannot_take_are_refused_before_any_is_read(
    clip: dict[str, Any], colours: Dataset, runtime: Runtime, passes: list[int]
) -> None:
    backbone = load_backbone("tvts:tiny")
    asked = replace(RETRIEVAL, clip=replace(backbone.clip_spec, **clip))
    for measure in (
        lambda: evaluate(backbone, colours, asked, runtime),
        lambda: evaluate_all([backbone], colours, asked, runtime),
    ):
        with pytest.raises(BackboneError, match="backbone tvts:tiny takes"):
            measure()
    assert not passes


def test_what_a_data_set_leaves_out_stands_beside_the_number(colours: Dataset, runtime: Runtime) -> None:
    left_out = {"files that are not named like a video (.txt 2)": ["red/a.txt", "red/\x1bb.txt"]}
    result = evaluate(load_backbone("pixels"), replace(colours, left_out=left_out), RETRIEVAL, runtime)
    assert "left out: 2 files that are not named like a video (.txt 2), the first: 'red/a.txt'" in result.notes
