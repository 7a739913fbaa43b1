"""The cached probe from files to metrics, on videos of plain colours."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.support.colours import colours_info
from tests.support.plain_videos import write_frames
from tvts_bench import evaluate, load_backbone
from tvts_bench.backbones.base import BackboneError
from tvts_bench.datasets.base import Dataset, VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.evaluators.cached_probe import DEFAULT, CachedProbe
from tvts_bench.evaluators.probe_heads import Heads
from tvts_bench.features.base import Features
from tvts_bench.features.extraction import extract
from tvts_bench.metrics.classification import correct_at_k
from tvts_bench.probes.attentive import Attentive
from tvts_bench.probes.base import LowLabel
from tvts_bench.probes.knn import KNN
from tvts_bench.probes.linear import Linear
from tvts_bench.probes.logistic import Logistic
from tvts_bench.results import Result, as_json
from tvts_bench.results.files import write_files
from tvts_bench.runtime import Runtime
from tvts_bench.training.presets import preset
from tvts_bench.video.spec import ClipSpec

NAMES = ("red", "green", "blue", "yellow", "cyan", "grey")
COLOURS = ((200, 40, 40), (40, 180, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200), (128, 128, 128))
INFO = colours_info("train", "test", num_classes=6)
QUICK = replace(
    DEFAULT,
    decoder="pyav",
    settings=Heads(logistic=Logistic(cs=(0.01, 0.1)), linear=Linear(lrs=(0.03, 0.1), weight_decays=(0.0,), epochs=20)),
)


def write_split(folder: Path, count: int, seed: int) -> tuple[VideoRecord, ...]:
    """`count` clips of each colour; two clips of a class come from one source."""
    rng = np.random.default_rng(seed)
    records = []
    for label, colour in enumerate(COLOURS):
        for number in range(count):
            name = f"{NAMES[label]}{number}"
            frames = [[value + int(rng.integers(-25, 25)) for value in colour] for _ in range(4)]
            path = write_frames(folder / f"{name}.mp4", frames)
            group = f"{folder.name}-{NAMES[label]}-{number // 2}"
            records.append(VideoRecord(id=f"{folder.name}/{name}", path=path, label=label, group=group))
    return tuple(records)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[VideoRecord, ...]]:
    root = tmp_path_factory.mktemp("probed")
    return {"train": write_split(root / "train", 10, 0), "test": write_split(root / "test", 4, 1)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def runtime(cache: Path) -> Runtime:
    """Features of the same clips are extracted once for all tests."""
    return Runtime(workers=0, cache=cache)


def dataset(train: Sequence[VideoRecord], test: Sequence[VideoRecord]) -> Dataset:
    readers = {"train": lambda: tuple(train), "test": lambda: tuple(test)}
    return Dataset(name="colours", root=Path(), class_names=NAMES, info=INFO, readers=readers)


def measure(
    splits: dict[str, tuple[VideoRecord, ...]],
    runtime: Runtime,
    protocol: CachedProbe = QUICK,
    backbone: str = "pixels",
) -> Result:
    return evaluate(load_backbone(backbone), dataset(splits["train"], splits["test"]), protocol, runtime)


@pytest.fixture(scope="module")
def measured(splits: dict[str, tuple[VideoRecord, ...]], cache: Path) -> Result:
    return measure(splits, Runtime(workers=0, cache=cache))


def test_every_head_tells_colours_apart(measured: Result) -> None:
    for condition in ("k-NN", "logistic regression", "linear"):
        for name, chance in (("top-1", 100 / 6), ("top-5", 500 / 6), ("mean class accuracy", 100 / 6)):
            metric = measured.metric(name, condition)
            assert metric.value > 90
            assert metric.chance == pytest.approx(chance)
            assert metric.low is not None
            assert metric.high is not None
            assert metric.low <= metric.value <= metric.high
    assert [(item.split, item.used) for item in measured.coverage] == [("test", 24), ("train", 60)]


def test_the_result_says_what_was_done(measured: Result) -> None:
    text = "\n".join(measured.protocol)
    assert "cached probe: frozen features extracted once, no augmentation; trained on train, tested on test" in text
    assert "chosen on 20 % of every class of train" in text
    assert "test was touched once" in text
    assert "k-NN: weighted votes, temperature 0.07; k=" in text
    evaluator = measured.run.evaluator
    assert evaluator["name"] == "cached_probe"
    assert evaluator["settings"]["logistic"]["solver"] == "sklearn"
    assert evaluator["seeds"] == [0]
    assert json.loads(json.dumps(as_json(measured), allow_nan=False))["run"]["evaluator"] == evaluator


def test_any_metric_can_be_computed_again_from_the_logits(measured: Result) -> None:
    logits = measured.tables["logits"]
    rows = [row for row, condition in enumerate(logits["condition"]) if condition == "linear"]
    assert [logits["id"][row] for row in rows][:2] == ["test/red0", "test/red1"]
    scores, labels = np.stack([logits["logits"][row] for row in rows]), [logits["label"][row] for row in rows]
    assert 100 * correct_at_k(scores, labels, 5).mean() == measured.metric("top-5", "linear").value


def test_choices_tell_what_was_tried_on_the_held_out_part(measured: Result) -> None:
    choices = measured.tables["choices"]
    rows = list(zip(choices["condition"], choices["setting"], choices["chosen"], strict=True))
    assert [setting for condition, setting, _ in rows if condition == "linear"] == [
        "lr=0.03 wd=0",
        "lr=0.1 wd=0",
    ]
    for condition in ("k-NN", "logistic regression", "linear"):
        assert sum(chosen for name, _, chosen in rows if name == condition) == 1


def test_files_of_a_probe(measured: Result, tmp_path: Path) -> None:
    write_files(measured, tmp_path)
    endings = {path.name.removeprefix(measured.stem) for path in tmp_path.iterdir()}
    assert endings == {
        *(".json", ".csv", ".md", ".per_class.csv", ".confusion.csv", ".choices.csv"),
        *(f".{table}.parquet" for table in ("logits", "per_class", "confusion", "choices")),
        *(f".confusion.{head}.png" for head in ("k-NN", "logistic-regression", "linear")),
    }


def test_the_same_run_again_gives_the_same_bits(
    splits: dict[str, tuple[VideoRecord, ...]], runtime: Runtime, measured: Result
) -> None:
    again = measure(splits, runtime)
    assert again.run.key == measured.run.key
    assert again.metrics == measured.metrics
    assert np.array_equal(np.stack(again.tables["logits"]["logits"]), np.stack(measured.tables["logits"]["logits"]))


def test_the_labels_of_the_test_clips_change_no_score(
    splits: dict[str, tuple[VideoRecord, ...]], runtime: Runtime, measured: Result
) -> None:
    relabelled = tuple(replace(record, label=(record.label + 1) % 6) for record in splits["test"])
    result = measure({**splits, "test": relabelled}, runtime)
    assert np.array_equal(np.stack(result.tables["logits"]["logits"]), np.stack(measured.tables["logits"]["logits"]))
    assert result.tables["choices"] == measured.tables["choices"]
    assert result.metric("top-1", "linear").value < 10


def test_low_label_runs_have_a_spread_over_seeds(
    splits: dict[str, tuple[VideoRecord, ...]], runtime: Runtime, measured: Result
) -> None:
    protocol = replace(QUICK, heads=("logistic",), low_label=LowLabel(per_class=2), seeds=(0, 1, 2))
    result = measure(splits, runtime, protocol)
    metric = result.metric("top-1", "logistic regression")
    assert len(metric.per_seed) == 3
    assert metric.value == pytest.approx(np.mean(metric.per_seed))
    assert any("2 clips a class" in line for line in result.protocol)
    assert result.run.key != measured.run.key
    assert sorted(set(result.tables["logits"]["seed"])) == [0, 1, 2]


def test_one_clip_a_class_leaves_nothing_to_choose_by_and_says_so(
    splits: dict[str, tuple[VideoRecord, ...]], runtime: Runtime
) -> None:
    result = measure(splits, runtime, replace(QUICK, low_label=LowLabel(per_class=1)))
    assert sum("(nothing held out)" in line for line in result.protocol) == 3
    assert any("hyper-parameters not chosen, since nothing of train was held out" in line for line in result.protocol)
    assert not any("chosen on 20 %" in line for line in result.protocol)
    assert all(value is None for value in result.tables["choices"]["held_out_accuracy"])


def test_torch_and_scikit_learn_agree(
    splits: dict[str, tuple[VideoRecord, ...]], runtime: Runtime, measured: Result
) -> None:
    settings = replace(QUICK.settings, logistic=replace(QUICK.settings.logistic, solver="torch"))
    result = measure(splits, runtime, replace(QUICK, heads=("logistic",), settings=settings))
    rows = [row for row, name in enumerate(measured.tables["logits"]["condition"]) if name == "logistic regression"]
    expected = [measured.tables["logits"]["predicted"][row] for row in rows]
    assert result.tables["logits"]["predicted"] == expected


def test_a_transformer_is_probed_as_well(splits: dict[str, tuple[VideoRecord, ...]], runtime: Runtime) -> None:
    small = {name: records[::2] for name, records in splits.items()}
    result = measure(small, runtime, replace(QUICK, heads=("logistic",)), backbone="tvts:tiny")
    assert result.metric("top-1", "logistic regression").value > 100 / 6
    assert "random init" in result.run.backbone["weights"]


def test_an_attentive_head_reads_the_tokens_of_the_same_clips(
    splits: dict[str, tuple[VideoRecord, ...]], runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {name: records[::2] for name, records in splits.items()}
    settings = replace(QUICK.settings, attentive=Attentive(lrs=(3e-3,), epochs=4, batch_size=8))
    protocol = replace(QUICK, heads=("attentive",), settings=settings)
    result = measure(small, runtime, protocol, backbone="tvts:tiny")
    assert result.metric("top-1", "attentive").value > 100 / 6
    assert any("attentive: cross-attention over patch tokens" in line for line in result.protocol)
    with pytest.raises(BackboneError, match="backbone pixels has no patch tokens"):
        measure(small, runtime, protocol)
    monkeypatch.setattr("tvts_bench.evaluators.cached_probe.MAX_TOKEN_BYTES", 2**20)
    with pytest.raises(UserError, match=r"128 tokens of 42 clips .* leave out --head attentive"):
        measure(small, runtime, protocol, backbone="tvts:tiny")


def test_augmented_views_are_trained_on_beside_the_plain_ones(
    splits: dict[str, tuple[VideoRecord, ...]], runtime: Runtime
) -> None:
    """The same logits as scikit-learn's on features that are extracted here, view by view."""
    protocol = replace(QUICK, heads=("logistic",), augmented=2, held_out=0)  # nothing held out: C is the grid's middle
    result = measure(splits, runtime, protocol)
    backbone, augment = load_backbone("pixels"), preset("probe", "colours").augment
    data = dataset(splits["train"], splits["test"])

    def features(split: str, clip: ClipSpec) -> Features:
        return extract(
            [backbone],
            data.records(split),
            data.fingerprint(split),
            clip=clip,
            decoder="pyav",
            dtype="fp32",
            runtime=runtime,
        )[0]

    plain = backbone.clip_spec
    views = [features("train", clip) for clip in (plain, plain.varied(augment, 0), plain.varied(augment, 1))]
    assert not np.array_equal(views[1].values, views[0].values)
    assert not np.array_equal(views[1].values, views[2].values)
    scale = StandardScaler().fit(np.concatenate([view.values for view in views]))
    head = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000)
    head.fit(scale.transform(np.concatenate([view.values for view in views])), np.tile(views[0].labels, 3))
    expected = head.decision_function(scale.transform(features("test", plain).values))
    found = np.stack(result.tables["logits"]["logits"])
    np.testing.assert_allclose(found - found.mean(1, keepdims=True), expected, rtol=0.01, atol=0.02)
    assert "of training clips also in 2 augmented views each (random frames, area crop" in result.protocol[0]


def test_held_out_clips_are_not_learned_from_in_any_view(
    splits: dict[str, tuple[VideoRecord, ...]], runtime: Runtime
) -> None:
    """Of random labels nothing can be told on clips that were held out, whatever is remembered of the others."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(6), 10)).tolist()
    train = tuple(replace(record, label=label) for record, label in zip(splits["train"], labels, strict=True))
    protocol = replace(QUICK, heads=("knn",), augmented=3, settings=Heads(knn=KNN(ks=(1,))))
    result = measure({"train": train, "test": splits["test"]}, runtime, protocol)
    [held_out] = result.tables["choices"]["held_out_accuracy"]
    assert isinstance(held_out, float)
    assert held_out < 60  # the nearest would be a view of the clip itself: 100


def test_no_augmented_view_changes_no_name_of_a_result(measured: Result) -> None:
    assert "augmented" not in measured.run.evaluator
    assert "augment" not in measured.run.evaluator["clip"]


def test_unreadable_clips_are_counted_on_both_sides(
    splits: dict[str, tuple[VideoRecord, ...]], runtime: Runtime, tmp_path: Path
) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    broken = VideoRecord(id="broken", path=tmp_path / "text.mp4", label=0)
    gone = VideoRecord(id="gone", path=tmp_path / "gone.mp4", label=1)
    with_broken = {"train": (*splits["train"], broken), "test": (*splits["test"], gone)}
    result = measure(with_broken, runtime, replace(QUICK, heads=("knn",)))
    assert [(item.listed, item.used, set(item.failed)) for item in result.coverage] == [
        (25, 24, {"gone"}),
        (61, 60, {"broken"}),
    ]
    with pytest.raises(UserError, match="1 of 25 clips of test"):
        measure(with_broken, replace(runtime, strict=True))


def test_a_class_whose_training_clips_cannot_be_read_counts_as_errors(
    splits: dict[str, tuple[VideoRecord, ...]], runtime: Runtime, tmp_path: Path
) -> None:
    train = tuple(
        replace(record, path=tmp_path / record.path.name) if record.label == 5 else record for record in splits["train"]
    )
    result = measure({**splits, "train": train}, runtime)
    assert any("no training clip of grey could be read" in note for note in result.notes)
    for condition in ("k-NN", "logistic regression", "linear"):
        assert result.metric("top-1", condition).value < 100 * 5 / 6 + 1e-9
        assert result.metric("top-1", condition).chance == 20
        assert result.metric("top-5", condition).value < 100  # five classes can be answered, and grey is none of them


def test_copies_of_training_clips_are_noticed(
    splits: dict[str, tuple[VideoRecord, ...]], runtime: Runtime, tmp_path: Path
) -> None:
    copy = tmp_path / "renamed.mp4"
    copy.write_bytes(splits["train"][0].path.read_bytes())
    test = (*splits["test"], VideoRecord(id="renamed", path=copy, label=0))
    result = measure({**splits, "test": test}, runtime, replace(QUICK, heads=("knn",)))
    assert any("1 test clips have exactly the features of a training clip" in note for note in result.notes)


def test_shared_clips_are_refused_before_anything_is_decoded(
    splits: dict[str, tuple[VideoRecord, ...]], tmp_path: Path
) -> None:
    shared = {"train": splits["train"], "test": (*splits["test"], splits["train"][0])}
    runtime = Runtime(workers=0, cache=tmp_path / "cache")
    with pytest.raises(UserError, match="1 of 25 clips of colours test are also in train: train/red0"):
        measure(shared, runtime)
    assert not runtime.cache.exists()
    result = measure(shared, runtime, replace(QUICK, heads=("knn",), allow_shared_clips=True))
    assert "1 of 25 test clips are also trained on: this is no test accuracy" in result.notes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heads": ("svm",)}, "'svm'"),
        ({"heads": ()}, "got none"),
        ({"heads": ("knn", "knn")}, "different heads"),
        ({"held_out": 1.0}, "got 1"),
        ({"seeds": (0, 0)}, "different numbers"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(QUICK, **changes)  # type: ignore[arg-type]
