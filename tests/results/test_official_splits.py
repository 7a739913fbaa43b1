"""The mean of several splits, worked out by hand."""

import numpy as np
import pytest

from tvts_bench.metrics.measured import Metric, SplitCoverage
from tvts_bench.results import Result, Run, as_json, from_json
from tvts_bench.results.official_splits import mean_of_folds


def fold(number: int, logits: list[list[float]], labels: list[int], value: float) -> Result:
    names = [f"f{number}-{row}" for row in range(len(labels))]
    return Result(
        run=Run(
            evaluator={"name": "finetune"},
            backbone={"family": "tvts", "variant": "tiny", "weights": "w", "sha256": "0", "tensors_sha256": "0"},
            dataset={"name": f"ucf101-fold{number}", "splits": {"test": f"fp{number}"}, "groups": {"test": None}},
            decoder="pyav",
        ),
        metrics=(
            Metric(name="top-1", condition="fine-tuned", value=value, low=0.0, high=100.0, chance=50.0),
            Metric(name="mean class accuracy", condition="fine-tuned", value=value, low=0.0, high=100.0, chance=50.0),
        ),
        coverage=(
            SplitCoverage(
                split="test", fingerprint=f"fp{number}", listed=len(labels) + 1, used=len(labels),
                failed={f"broken{number}": "no video"}, official=(10 * number,),
            ),
        ),
        provenance={"created": "now", "versions": {}, "decoders": {"PyAV": len(labels)}},
        protocol=("trained on train", f"tested epoch {number} of 3"),
        notes=("a note", f"of fold {number}"),
        tables={
            "logits": {
                "condition": ["fine-tuned"] * len(labels),
                "id": names,
                "label": labels,
                "logits": [np.array(row, dtype=np.float32) for row in logits],
            }
        },
    )  # fmt: skip


RIGHT, WRONG = [1.0, 0.0], [0.0, 1.0]


def test_folds_count_equally_whatever_their_size() -> None:
    # 1 of 2 right, and 3 of 4: the mean is (50 + 75) / 2, not 4 of 6.
    first = fold(1, [RIGHT, WRONG], [0, 0], 50.0)
    second = fold(2, [RIGHT, RIGHT, RIGHT, WRONG], [0, 0, 0, 0], 75.0)
    result = mean_of_folds([first, second])
    top_1 = result.metric("top-1", "fine-tuned")
    assert top_1.value == 62.5
    assert top_1.chance == 50.0
    assert top_1.low is not None
    assert top_1.high is not None
    assert 0 <= top_1.low < 62.5 < top_1.high <= 100
    by_class = result.metric("mean class accuracy", "fine-tuned")
    assert (by_class.value, by_class.low, by_class.high) == (62.5, None, None)


def test_what_is_certain_in_every_fold_has_no_interval_width() -> None:
    folds = [fold(number, [RIGHT, RIGHT], [0, 0], 100.0) for number in (1, 2, 3)]
    top_1 = mean_of_folds(folds).metric("top-1", "fine-tuned")
    assert (top_1.low, top_1.value, top_1.high) == pytest.approx((100, 100, 100))


def test_the_mean_says_what_it_is_made_of() -> None:
    folds = [fold(1, [RIGHT], [0], 100.0), fold(2, [WRONG, WRONG], [0, 0], 0.0)]
    result = mean_of_folds(folds)
    assert result.run.dataset["name"] == "ucf101"
    assert [each["name"] for each in result.run.dataset["folds"]] == ["ucf101-fold1", "ucf101-fold2"]
    assert result.provenance["folds"] == [each.run.key for each in folds]
    assert result.provenance["decoders"] == {"PyAV": 3}
    (coverage,) = result.coverage
    assert (coverage.listed, coverage.used, coverage.official) == (5, 3, (30,))
    assert set(coverage.failed) == {"broken1", "broken2"}
    assert result.protocol == ("mean over 2 official splits; top-1 of each: 100.00, 0.00", "trained on train")
    assert result.notes == ("a note", "of fold 1", "of fold 2")
    assert "ucf101-test-of-2-folds-tvts-tiny" in result.stem
    assert from_json(as_json(result)) == result
