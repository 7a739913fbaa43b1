"""Models are compared on the same clips, by tests that SciPy and an independent bootstrap agree with."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tests.support.drawn_hits import drawn
from tests.support.grids import RETRIEVAL, cell, grid
from tests.support.results import classification, coverage, retrieval
from tvts_bench import compare, load_results
from tvts_bench.results import Result, ResultError
from tvts_bench.results.compare import Verdict
from tvts_bench.results.files import write_files
from tvts_bench.snapshot import Snapshot
from tvts_bench.version import VERSION


def write(out: Path, hits: NDArray[np.bool_], **changes: object) -> dict[str, Path]:
    """A retrieval result per row of `hits`, of the models a, b, c, ...; their JSON."""
    files = {}
    for name, row in zip("abcdefgh", hits, strict=False):
        result = retrieval([[bool(hit)] for hit in row], backbone=name, **changes)  # type: ignore[arg-type]
        files[name] = write_files(result, out).json
    return files


def only(verdicts: tuple[Verdict, ...], first: str, second: str) -> Verdict:
    (verdict,) = (each for each in verdicts if (each.first, each.second) == (f"tvts:{first}", f"tvts:{second}"))
    return verdict


def test_p_is_that_of_scipys_exact_tests_on_the_files(tmp_path: Path) -> None:
    hits = drawn(np.random.default_rng(0), 300, 0.6, 0.5, 0.52)
    write(tmp_path, hits)
    (comparison,) = compare(tmp_path)
    assert [(v.first, v.second) for v in comparison.verdicts] == [
        ("tvts:a", "tvts:b"),
        ("tvts:a", "tvts:c"),
        ("tvts:b", "tvts:c"),
    ]
    for verdict, (one, two) in zip(comparison.verdicts, ((0, 1), (0, 2), (1, 2)), strict=True):
        ahead, behind = int((hits[one] & ~hits[two]).sum()), int((hits[two] & ~hits[one]).sum())
        assert verdict.test is not None
        assert verdict.test.test == "McNemar, exact"
        assert verdict.test.p == pytest.approx(stats.binomtest(ahead, ahead + behind).pvalue, rel=1e-12)
        assert verdict.test.difference == pytest.approx(100 * (ahead - behind) / 300)
        assert (len(verdict.only_first), len(verdict.only_second)) == (ahead, behind)


def test_the_interval_is_that_of_a_bootstrap_written_independently(tmp_path: Path) -> None:
    hits = drawn(np.random.default_rng(1), 400, 0.62, 0.5)
    write(tmp_path, hits)
    ((verdict,),) = (each.verdicts for each in compare(tmp_path))
    rng = np.random.default_rng(99)
    means = []
    for _ in range(20_000):
        clips = rng.integers(400, size=400)
        means.append(100 * (hits[0, clips].mean() - hits[1, clips].mean()))
    low, high = np.percentile(means, [2.5, 97.5])
    assert verdict.test is not None
    assert verdict.test.low == pytest.approx(low, abs=0.6)
    assert verdict.test.high == pytest.approx(high, abs=0.6)


def test_means_over_seeds_of_sampling_are_compared_by_permuting_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    scores = []
    for name in "ab":
        hits = rng.random((3, 12)) < (0.7 if name == "a" else 0.4)
        base = retrieval([[bool(hit)] for hit in hits[0]], backbone=name)
        table = {
            "seed": [seed for seed in range(3) for _ in range(12)],
            "query": [f"q{clip}" for _ in range(3) for clip in range(12)],
            "rank": [1] * 36,
            "hit": hits.reshape(-1).tolist(),
        }
        metrics = (replace(base.metrics[0], value=100 * hits.mean(), per_seed=tuple(100 * hits.mean(axis=1))),)
        write_files(replace(base, metrics=metrics, tables={"neighbors": table}), tmp_path)
        scores.append(hits.mean(axis=0))
    ((verdict,),) = (each.verdicts for each in compare(tmp_path))
    ahead = scores[0] - scores[1]
    signs = 1 - 2 * ((np.arange(4096)[:, None] >> np.arange(12)) & 1)  # all ways to exchange the two
    expected = np.mean(np.abs(signs @ ahead) >= abs(ahead.sum()) - 1e-12)
    assert verdict.test is not None
    assert verdict.test.test == "paired permutation"
    assert verdict.test.p == pytest.approx(expected)


def test_seeds_of_pretraining_are_compared_by_scipys_paired_t(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    hits = {row: rng.random((4, 50)) < rate for row, rate in (("none", 0.3), ("k_way", 0.6))}
    rows = {
        row: {
            str(seed): cell(
                tmp_path,
                f"{row}{seed}",
                seed,
                {RETRIEVAL: retrieval([[bool(hit)] for hit in clips], backbone=f"{row}{seed}")},
            )
            for seed, clips in enumerate(every)
        }
        for row, every in hits.items()
    }
    grid(tmp_path, rows)
    ((verdict,),) = (each.verdicts for each in compare(tmp_path, baseline="none"))
    ours, theirs = (100 * hits[row].mean(axis=1) for row in ("k_way", "none"))
    expected = stats.ttest_rel(ours, theirs)
    assert (verdict.first, verdict.second) == ("k_way", "none")
    assert verdict.test is not None
    assert verdict.test.test == "paired t, over seeds"
    assert verdict.test.p == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert (verdict.test.low, verdict.test.high) == pytest.approx((interval.low, interval.high))


def test_the_sentence_says_what_can_be_said(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    write(tmp_path, np.vstack([drawn(rng, 400, 0.8, 0.5, shared=0), drawn(rng, 400, 0.5, shared=0)]))
    verdicts = compare(tmp_path)[0].verdicts
    ahead, none = only(verdicts, "a", "b"), only(verdicts, "b", "c")
    assert ahead.significant
    assert ahead.sentence.startswith("R@1: tvts:a is ahead of tvts:b by ")
    assert ahead.test is not None
    assert none.test is not None
    assert f"[{ahead.test.low:+.1f}, {ahead.test.high:+.1f}]" in ahead.sentence
    assert none.sentence == (
        "R@1: no difference seen between tvts:b and tvts:c:"
        f" {none.test.difference:+.1f} [{none.test.low:+.1f}, {none.test.high:+.1f}]"
    )
    chance = replace(ahead, p_holm=0.2)
    assert chance.sentence.endswith("taken alone, but not corrected for the number of comparisons (Holm p 0.20)")


def test_who_is_behind_is_turned_round_with_its_interval(tmp_path: Path) -> None:
    write(tmp_path, drawn(np.random.default_rng(7), 400, 0.3, 0.6))
    ((verdict,),) = (each.verdicts for each in compare(tmp_path))
    test = verdict.test
    assert test is not None
    assert test.high is not None
    assert test.low is not None
    assert verdict.sentence == (
        f"R@1: tvts:b is ahead of tvts:a by {-test.difference:.1f} [{-test.high:+.1f}, {-test.low:+.1f}]"
    )


def test_results_at_hand_need_no_files() -> None:
    hits = [[True], [False], [True]]
    ((verdict,),) = (
        each.verdicts
        for each in compare([retrieval(hits, backbone="a"), retrieval([[True], [True], [False]], backbone="b")])
    )
    assert verdict.only_first == ("q2",)
    assert verdict.only_second == ("q1",)


def test_each_head_of_a_probe_is_a_row(tmp_path: Path) -> None:
    for name, right in (("a", [True, True, False]), ("b", [True, False, False])):
        result = classification(right, evaluator="cached_probe", condition="linear", backbone=name)
        write_files(result, tmp_path)
    ((verdict,),) = (each.verdicts for each in compare(tmp_path))
    assert (verdict.metric, verdict.condition, verdict.only_first) == ("top-1", "linear", ("c1",))


HITS = [[True], [False], [True]]
SEEN = Snapshot(signatures="s", contents="1" * 64)
OTHER_VIDEOS = replace(coverage("val", 3, 3), files=replace(SEEN, contents="2" * 64))
DIFFERENT = {
    "evaluator.dtype fp32 and bf16": retrieval(HITS, backbone="b", dtype="bf16"),
    "evaluator.split nothing and train": retrieval(HITS, backbone="b", split="train"),
    f"version of tvts-bench {VERSION} and 0.0.1": retrieval(HITS, backbone="b", version="0.0.1"),
    "videos of val 111111111111 and 222222222222": retrieval(HITS, backbone="b", parts=(OTHER_VIDEOS,)),
}


@pytest.mark.parametrize("differs", DIFFERENT)
def test_what_was_measured_differently_is_refused_with_what_differs(differs: str) -> None:
    first = retrieval(HITS, backbone="a", parts=(replace(coverage("val", 3, 3), files=SEEN),))
    with pytest.raises(ResultError, match=f"they differ in {differs};"):
        compare([first, DIFFERENT[differs]])


def test_what_was_measured_in_two_ways_is_compared_within_each() -> None:
    ways = [retrieval(HITS, backbone=name, dtype=dtype) for dtype in ("fp32", "bf16") for name in "ab"]
    comparisons = compare(ways)
    assert [(each.setting, len(each.verdicts)) for each in comparisons] == [("", 1), ("evaluator.dtype bf16", 1)]
    with pytest.raises(ResultError, match=r"they differ in evaluator\.dtype fp32 and bf16"):
        compare(ways[:3])


def test_a_task_of_one_model_keeps_no_other_from_being_compared() -> None:
    alone = [retrieval(HITS, backbone="a", dataset="k400", dtype=dtype) for dtype in ("fp32", "bf16")]
    (comparison,) = compare([*alone, retrieval(HITS, backbone="a"), retrieval(HITS, backbone="b")])
    assert comparison.task.dataset == "scripted_motion-ssv2 val"


def test_means_over_folds_are_left_out_for_their_folds() -> None:
    folds = [retrieval(HITS, backbone=name, dataset="ucf101-fold1") for name in "ab"]
    means = [retrieval(HITS, backbone=name, dataset="ucf101") for name in "ab"]
    means = [replace(each, provenance={**each.provenance, "folds": ["k"]}, tables={}) for each in means]
    (comparison,) = compare([*folds, *means])
    assert comparison.task.dataset == "ucf101-fold1 val"
    assert comparison.notes[-1].startswith("2 means over folds are left out")
    with pytest.raises(ResultError, match=r"is a mean over folds, .*: name the results of one fold"):
        compare(means)


def with_clip(backbone: str, frames: int, variant: str | None = None) -> Result:
    result = retrieval(HITS, backbone=backbone, clip={"num_frames": frames, "crop": 32})
    run = result.run
    return replace(result, run=replace(run, backbone={**run.backbone, "variant": variant or backbone}))


def test_other_architectures_have_clips_of_their_own_and_one_has_not() -> None:
    (comparison,) = compare([with_clip("a", 16), with_clip("b", 8)])
    assert "each model is measured with its own clips: tvts:a num_frames 16; tvts:b num_frames 8" in comparison.notes
    with pytest.raises(ResultError, match=r"evaluator\.clip\.num_frames 16 and 8"):
        compare([with_clip("a", 16, "base"), with_clip("b", 8, "base")])


def test_other_lists_of_clips_are_refused() -> None:
    first, second = retrieval(HITS, backbone="a"), retrieval(HITS, backbone="b")
    other = replace(second.run, dataset={**second.run.dataset, "splits": {"val": "e" * 64}})
    with pytest.raises(ResultError, match=r"dataset\.splits\.val ffffffffffff and eeeeeeeeeeee"):
        compare([first, replace(second, run=other)])


def test_only_clips_that_both_measured_are_pairs(tmp_path: Path) -> None:
    files = write(tmp_path, np.array([[True, False, True, True], [False, False, True, True]]))
    fewer = retrieval([[False], [False], [True]], backbone="b", parts=(coverage("val", 3, 4),))
    files["b"].unlink()
    write_files(fewer, tmp_path)
    (comparison,) = compare(tmp_path)
    assert comparison.verdicts[0].test is not None
    assert comparison.verdicts[0].test.pairs == 3
    assert "compared on the clips that both of a pair have: 3 or more, of 4" in comparison.notes


class TestBadInput:
    """One sentence each, with the file and the way out."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> dict[str, Path]:
        return write(tmp_path, np.array([[True, False, True], [False, False, True]]))

    def test_a_single_result(self, files: dict[str, Path]) -> None:
        with pytest.raises(ResultError, match=r"there is a single result, .*: a comparison needs two"):
            compare(files["a"])

    def test_nothing_in_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(ResultError, match=r"no results of tvts-bench in .*empty; give the --out of a command"):
            compare(tmp_path / "empty")

    def test_a_damaged_json(self, files: dict[str, Path], tmp_path: Path) -> None:
        files["a"].write_text("{")
        with pytest.raises(ResultError, match=f"cannot read the result file {files['a']}"):
            compare(tmp_path)

    def test_a_hand_edited_run(self, files: dict[str, Path], tmp_path: Path) -> None:
        files["a"].write_text(files["a"].read_text().replace('"dtype": "fp32"', '"dtype": "bf16"'))
        with pytest.raises(ResultError, match="the run does not match its key"):
            compare(tmp_path)

    def test_a_hand_edited_number(self, files: dict[str, Path], tmp_path: Path) -> None:
        document = json.loads(files["a"].read_text())
        document["metrics"][0]["value"] = 70.0
        files["a"].write_text(json.dumps(document))
        with pytest.raises(
            ResultError, match=r"says R@1 70\.0000, but its clips in .*neighbors\.parquet give 66\.6667"
        ):
            compare(tmp_path)

    def test_no_parquet_beside_a_json(self, files: dict[str, Path], tmp_path: Path) -> None:
        files["b"].with_suffix(".neighbors.parquet").unlink()
        with pytest.raises(
            ResultError, match=r"neighbors\.parquet is missing: keep it beside .*json, or measure again"
        ):
            compare(tmp_path)

    def test_a_damaged_parquet(self, files: dict[str, Path], tmp_path: Path) -> None:
        files["b"].with_suffix(".neighbors.parquet").write_bytes(b"PAR1")
        with pytest.raises(ResultError, match=r"neighbors\.parquet is damaged, or does not hold R@1: measure again"):
            compare(tmp_path)

    def test_two_runs_of_one_name(self, files: dict[str, Path]) -> None:
        with pytest.raises(ResultError, match=r"two runs of one name: .* are both ours; name them apart, as NAME=FILE"):
            compare([f"ours={files['a']}", f"ours={files['b']}"])

    def test_one_model_by_two_protocols(self) -> None:
        with pytest.raises(ResultError, match=r"they differ in evaluator\.dtype fp32 and bf16"):
            compare([retrieval(HITS), retrieval(HITS, dtype="bf16")])

    def test_two_files_of_one_run(self, files: dict[str, Path], tmp_path: Path) -> None:
        copy = tmp_path / "copy.json"
        copy.write_text(files["a"].read_text())
        with pytest.raises(ResultError, match=r"are of one run .*: name one of them"):
            compare([files["a"], copy])

    def test_a_baseline_that_is_not_there(self, tmp_path: Path, files: dict[str, Path]) -> None:
        with pytest.raises(ResultError, match="no model is called c: there are tvts:a; tvts:b"):
            compare(tmp_path, baseline="c")

    def test_a_metric_that_was_not_measured(self, tmp_path: Path, files: dict[str, Path]) -> None:
        with pytest.raises(ResultError, match="has no R@7: there are R@1, R@5"):
            compare(tmp_path, metrics=["R@7"])

    def test_other_data_sets(self) -> None:
        first, second = retrieval(HITS, backbone="a"), retrieval(HITS, backbone="b", dataset="k400")
        with pytest.raises(ResultError, match="no two models were measured on the same data set by the same protocol"):
            compare([first, second])

    def test_a_metric_without_scores_of_clips(self) -> None:
        first, second = retrieval(HITS, backbone="a"), retrieval(HITS, backbone="b")
        renamed = [replace(each, metrics=(replace(each.metrics[0], name="mAP@R"),)) for each in (first, second)]
        with pytest.raises(ResultError, match=r"mAP@R of .* has no scores of single clips: compare by R@K or top-1"):
            compare(renamed)


def test_what_lies_beside_results_is_passed_over_with_a_sentence(tmp_path: Path) -> None:
    files = write(tmp_path, np.array([[True, False], [False, False]]))
    (tmp_path / "notes.json").write_text('{"note": 1}')
    aside = files["a"].with_name(files["a"].name.replace(".json", ".1.json"))
    aside.write_text(files["a"].read_text())
    results = load_results(tmp_path)
    assert len(results) == 2
    assert sorted(results.passed_over) == sorted(
        [
            f"passed over {tmp_path / 'notes.json'}: it is not a result",
            f"passed over {aside}: it was set aside for newer numbers of its run",
        ]
    )
