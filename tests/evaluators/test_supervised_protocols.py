"""Fine-tuning and the online probe, from files to metrics, on videos of plain colours."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.supervised_world import stopping_after, tiny_backbone, write_records
from tvts_bench import evaluate, load_backbone
from tvts_bench.backbones.base import Backbone, tensors_sha256
from tvts_bench.datasets.base import Dataset, DatasetInfo, VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.evaluators.finetune import Finetune
from tvts_bench.evaluators.online_probe import OnlineProbe
from tvts_bench.probes.base import hold_out
from tvts_bench.results import Result, as_json, from_json
from tvts_bench.runtime import Runtime
from tvts_bench.signals import StoppedError
from tvts_bench.training.checkpoint import TrainingStateError
from tvts_bench.training.classifier import Classifier
from tvts_bench.training.recipe import Recipe, without_augmentation
from tvts_bench.training.sampler import ClipSampler
from tvts_bench.video.clips import load_clip
from tvts_bench.video.transforms import normalise

COLOURS = ("red", "green", "blue")
RECIPE = without_augmentation(
    Recipe(base_lr=0.64, batch_size=4, epochs=4, warmup_epochs=1.0, precision="fp32", views="2x1", layer_decay=0.9)
)
TUNE = Finetune(recipe=RECIPE, decoder="pyav")
PROBE = OnlineProbe(recipe=replace(RECIPE, optimizer="sgd", base_lr=64.0, weight_decay=0.0), decoder="pyav")


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Fifteen clips to train on and six to test on, of three colours in turn."""
    records = write_records(tmp_path_factory.mktemp("videos"), 21)
    return dataset({"train": records[:15], "val": records[15:]})


def dataset(splits: dict[str, Sequence[VideoRecord]]) -> Dataset:
    info = DatasetInfo(
        title="colours",
        splits=tuple(splits),
        default_split="val",
        num_classes=3,
        official_sizes={},
        url="-",
        license="-",
        layout="-",
    )
    readers = {name: (lambda records=tuple(records): records) for name, records in splits.items()}
    return Dataset(name="colours", root=Path(), class_names=COLOURS, info=info, readers=readers)


@pytest.fixture
def runtime(tmp_path: Path) -> Runtime:
    return Runtime(workers=0, cache=tmp_path / "cache", out=tmp_path / "results")


def test_colours_are_learned_and_all_is_said(colours: Dataset, runtime: Runtime) -> None:
    backbone = tiny_backbone()
    before = tensors_sha256(backbone)
    result = evaluate(backbone, colours, TUNE, runtime)
    assert tensors_sha256(backbone) == before == result.run.backbone["tensors_sha256"]
    top_1 = result.metric("top-1", "fine-tuned")
    assert top_1.value == 100
    assert top_1.chance == pytest.approx(100 / 3)
    assert result.metric("mean class accuracy", "fine-tuned").value == 100
    assert [(item.split, item.used, item.complete) for item in result.coverage] == [
        ("val", 6, True),
        ("train", 15, True),
    ]
    words = "\n".join(result.protocol)
    for expected in (
        "trained on train: backbone and linear head; seed 0, fp32",
        "adamw, learning rate 0.01 (0.64 x 4 / 256)",
        "layer decay 0.9",
        "4 epochs of batches of 4",
        "of 4: the best on 3 held-out clips of train",
        "4 frames, segments/center, 32 x 32, 2 views, probabilities averaged",
    ):
        assert expected in words
    assert result.run.evaluator["name"] == "finetune"
    assert result.run.evaluator["recipe"]["held_out"] == 0.1
    assert from_json(as_json(result)) == result


def test_tables_hold_every_clip_view_and_epoch(colours: Dataset, runtime: Runtime) -> None:
    tables = evaluate(tiny_backbone(), colours, TUNE, runtime).tables
    logits = tables["logits"]
    assert logits["id"] == [f"v{number:03d}" for number in range(15, 21)]
    assert logits["predicted"] == logits["label"] == [0, 1, 2, 0, 1, 2]
    np.testing.assert_allclose(np.exp(np.stack(logits["logits"])).sum(axis=1), 1, rtol=1e-5)  # of probabilities
    views = tables["view_logits"]
    assert views["id"][:4] == ["v015", "v015", "v016", "v016"]
    assert views["view"][:4] == [0, 1, 0, 1]
    shares = torch.tensor(np.stack(views["logits"])).softmax(1).unflatten(0, (6, 2)).mean(1).log()
    np.testing.assert_allclose(np.stack(logits["logits"]), shares, rtol=1e-4, atol=1e-6)
    assert tables["curves"]["epoch"] == [1, 2, 3, 4]
    assert tables["curves"]["measured_clips"] == [3, 3, 3, 3]


def test_the_probe_trains_no_backbone(colours: Dataset, runtime: Runtime) -> None:
    result = evaluate(tiny_backbone(), colours, PROBE, runtime)
    assert result.metric("top-1", "linear, online").value == 100
    assert "a linear head on the frozen backbone" in result.protocol[0]
    assert not any("layer decay" in line for line in result.protocol)
    assert evaluate(load_backbone("pixels"), colours, PROBE, runtime).metric("top-1", "linear, online").value == 100


def test_the_test_set_or_the_last_epoch_may_choose_and_the_result_says_so(colours: Dataset, runtime: Runtime) -> None:
    on_test = evaluate(tiny_backbone(), colours, replace(TUNE, recipe=replace(RECIPE, best="test")), runtime)
    assert any("chosen on the test clips" in note for note in on_test.notes)
    assert any("the best on the test clips themselves" in line for line in on_test.protocol)
    last = evaluate(tiny_backbone(), colours, replace(TUNE, recipe=replace(RECIPE, best="last")), runtime)
    assert any("tested epoch 4 of 4: the last" in line for line in last.protocol)
    assert "measured_top_1" not in last.tables["curves"]
    assert len({result.run.key for result in (on_test, last)}) == 2


def test_a_stopped_run_goes_on_and_gives_the_same_numbers(colours: Dataset, runtime: Runtime, tmp_path: Path) -> None:
    whole = evaluate(tiny_backbone(), colours, TUNE, replace(runtime, out=tmp_path / "whole"))
    with pytest.raises(StoppedError):
        evaluate(tiny_backbone(), colours, TUNE, replace(runtime, progress=stopping_after(5)))
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name.startswith("colours-train-tvts-toy-finetune-")
    with pytest.raises(TrainingStateError, match="at step 5 of 12: add --resume"):
        evaluate(tiny_backbone(), colours, TUNE, runtime)
    resumed = evaluate(tiny_backbone(), colours, TUNE, replace(runtime, resume=True))
    assert resumed.metrics == whole.metrics
    assert same_logits(resumed, whole)
    assert resumed.tables["curves"] == whole.tables["curves"]
    for name in ("last.pt", "best.pt", "steps.csv", "epochs.csv", "tensorboard"):
        assert (folder / name).exists()


REPLACED = "files of train changed since this training read them, at step {} of 12: it begins anew"


def copied(colours: Dataset, folder: Path) -> Dataset:
    """The same videos as copies in `folder`, which tests may change."""
    folder.mkdir()
    splits: dict[str, Sequence[VideoRecord]] = {}
    for split in ("train", "val"):
        splits[split] = [
            replace(record, path=Path(shutil.copyfile(record.path, folder / f"{split}-{record.id}.mp4")))
            for record in colours.records(split)
        ]
    return dataset(splits)


def exchange_contents(records: Sequence[VideoRecord]) -> None:
    """Give each video the content of the next, and the first that of the last, with sizes and times as they were."""
    contents = [record.path.read_bytes() for record in records]
    for record, content in zip(records, [*contents[1:], contents[0]], strict=True):
        record.path.write_bytes(content)


@pytest.mark.parametrize("best", ["held-out", "last"])
def test_a_training_whose_videos_were_replaced_begins_anew_and_keeps_the_old_one(
    colours: Dataset, runtime: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture, best: str
) -> None:
    """Names, ids and labels are the same: what is in the files tells, and the number is that of an empty folder."""
    tune = replace(TUNE, recipe=replace(RECIPE, best=best))  # type: ignore[arg-type]
    data = copied(colours, tmp_path / "videos")
    first = evaluate(tiny_backbone(), data, tune, runtime)
    (folder,) = (tmp_path / "results").iterdir()
    before = (folder / "last.pt").read_bytes()
    exchange_contents(data.records("train"))
    again = evaluate(tiny_backbone(), data, tune, replace(runtime, resume=True))
    fresh = evaluate(tiny_backbone(), data, tune, replace(runtime, out=tmp_path / "fresh"))
    assert "15 " + REPLACED.format(12) in caplog.text
    assert same_logits(again, fresh)
    assert not same_logits(again, first)
    aside = folder.with_name(f"{folder.name}.1")
    assert (aside / "last.pt").read_bytes() == before
    assert {path.name for path in aside.iterdir()} >= {"steps.csv", "epochs.csv"}
    assert f"is kept in {aside}" in caplog.text
    assert "there is no state" not in caplog.text
    caplog.clear()
    same = evaluate(tiny_backbone(), data, tune, replace(runtime, resume=True))  # nothing has changed since
    assert not caplog.text
    assert same_logits(same, again)


@pytest.mark.parametrize("change", ["one replaced", "deleted", "put back"])
def test_one_video_that_is_another_is_enough(
    colours: Dataset, runtime: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    tune = replace(TUNE, recipe=replace(RECIPE, best="last", max_failures=0.2))
    data = copied(colours, tmp_path / "videos")
    path = data.records("train")[4].path
    if change == "put back":
        content = path.read_bytes()
        path.unlink()
    with pytest.raises(StoppedError):
        evaluate(tiny_backbone(), data, tune, replace(runtime, progress=stopping_after(7)))
    if change == "one replaced":
        path.write_bytes(data.records("train")[5].path.read_bytes())
    elif change == "deleted":
        path.unlink()
    else:
        path.write_bytes(content)
    evaluate(tiny_backbone(), data, tune, replace(runtime, resume=True))
    assert "1 " + REPLACED.format(7) in caplog.text


def test_a_copy_of_the_data_is_known_by_what_it_holds(
    colours: Dataset, runtime: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As for jobs that copy their data to a node's own disk: also in the first epoch, when not all has been read."""
    whole = evaluate(tiny_backbone(), colours, TUNE, replace(runtime, out=tmp_path / "whole"))
    with pytest.raises(StoppedError):
        evaluate(tiny_backbone(), copied(colours, tmp_path / "a"), TUNE, replace(runtime, progress=stopping_after(2)))
    moved = copied(colours, tmp_path / "b")
    with pytest.raises(StoppedError):
        evaluate(tiny_backbone(), moved, TUNE, replace(runtime, progress=stopping_after(7), resume=True))
    resumed = evaluate(tiny_backbone(), copied(colours, tmp_path / "c"), TUNE, replace(runtime, resume=True))
    assert "changed" not in caplog.text
    assert same_logits(resumed, whole)
    assert resumed.coverage[1].files is not None
    assert resumed.coverage[1].files.contents is not None


def test_test_clips_count_only_where_they_choose_the_epoch(
    colours: Dataset, runtime: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = copied(colours, tmp_path / "videos")
    choices = {best: replace(TUNE, recipe=replace(RECIPE, best=best)) for best in ("held-out", "test")}
    for tune in choices.values():
        evaluate(tiny_backbone(), data, tune, runtime)
    exchange_contents(data.records("val"))
    evaluate(tiny_backbone(), data, choices["held-out"], replace(runtime, resume=True))
    assert "changed" not in caplog.text
    evaluate(tiny_backbone(), data, choices["test"], replace(runtime, resume=True))
    assert "6 files of val changed since this training read them" in caplog.text


def same_logits(first: Result, second: Result) -> bool:
    return np.array_equal(np.stack(first.tables["logits"]["logits"]), np.stack(second.tables["logits"]["logits"]))


def test_other_views_test_the_same_training_again(colours: Dataset, runtime: Runtime, tmp_path: Path) -> None:
    evaluate(tiny_backbone(), colours, TUNE, runtime)
    for recipe in (replace(RECIPE, views="1x3"), replace(RECIPE, average="logits")):
        result = evaluate(tiny_backbone(), colours, replace(TUNE, recipe=recipe), replace(runtime, resume=True))
        assert result.metric("top-1", "fine-tuned").value == 100
    assert len(list((tmp_path / "results").iterdir())) == 1
    evaluate(tiny_backbone(seed=1), colours, TUNE, runtime)  # another backbone is another training
    evaluate(tiny_backbone(), colours, replace(TUNE, recipe=replace(RECIPE, seed=1)), runtime)
    assert len(list((tmp_path / "results").iterdir())) == 3


def test_what_is_left_out_comes_from_the_data_set_and_the_backbone(colours: Dataset) -> None:
    resolved = Finetune().resolve(tiny_backbone(), replace(colours, name="ucf101-fold2"))
    assert (resolved.train_split, resolved.split) == ("train", "val")
    assert resolved.recipe is not None
    assert resolved.recipe.views == "5x3"
    assert resolved.clip is not None
    assert (resolved.clip.num_frames, resolved.clip.temporal_views, resolved.clip.spatial_views) == (4, 5, 3)
    assert resolved.resolve(tiny_backbone(), colours) == resolved


def test_training_clips_that_cannot_be_read_are_counted(colours: Dataset, runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    broken = VideoRecord(id="broken", path=tmp_path / "broken.mp4", label=0)
    data = dataset({"train": [*colours.records("train"), broken], "val": colours.records("val")})
    recipe = replace(RECIPE, best="last", max_failures=0.2)
    result = evaluate(tiny_backbone(), data, replace(TUNE, recipe=recipe), runtime)
    assert result.coverage[1].used == 15
    assert set(result.coverage[1].failed) == {"broken"}
    with pytest.raises(Exception, match=r"broken\.mp4"):
        evaluate(
            tiny_backbone(), data, replace(TUNE, recipe=recipe), replace(runtime, strict=True, out=tmp_path / "strict")
        )


def test_held_out_clips_that_cannot_be_read_are_counted_also_by_who_only_tests_again(
    colours: Dataset, runtime: Runtime, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    train = colours.records("train")
    labels = np.array([record.label for record in train])
    held = hold_out(labels, [None] * len(train), RECIPE.held_out, RECIPE.seed).held
    broken = replace(train[held[0]], path=tmp_path / "broken.mp4")
    records = [broken if record.id == broken.id else record for record in train]
    data = dataset({"train": records, "val": colours.records("val")})
    first = evaluate(tiny_backbone(), data, TUNE, runtime)
    again = evaluate(tiny_backbone(), data, TUNE, replace(runtime, resume=True))
    for result in (first, again):
        assert (result.coverage[1].listed, result.coverage[1].used) == (15, 14)
        assert set(result.coverage[1].failed) == {broken.id}
        assert any("the best on 2 held-out clips of train" in line for line in result.protocol)


def test_test_clips_that_cannot_be_read_are_counted_or_refused(
    colours: Dataset, runtime: Runtime, tmp_path: Path
) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    broken = VideoRecord(id="broken", path=tmp_path / "broken.mp4", label=0)
    data = dataset({"train": colours.records("train"), "val": [*colours.records("val"), broken]})
    result = evaluate(tiny_backbone(), data, TUNE, runtime)
    assert (result.coverage[0].used, result.coverage[0].listed) == (6, 7)
    with pytest.raises(UserError, match="1 of 7 clips of val cannot be measured"):
        evaluate(tiny_backbone(), data, TUNE, replace(runtime, strict=True, resume=True))


def test_clips_in_train_and_test_are_refused_unless_allowed(colours: Dataset, runtime: Runtime) -> None:
    data = dataset({"train": colours.records("train"), "val": colours.records("train")[:3]})
    with pytest.raises(UserError, match="3 of 3"):
        evaluate(tiny_backbone(), data, TUNE, runtime)
    result = evaluate(tiny_backbone(), data, replace(TUNE, allow_shared_clips=True), runtime)
    assert any("3 of 3" in note for note in result.notes)


def test_nothing_to_hold_out_is_said(colours: Dataset, runtime: Runtime) -> None:
    data = dataset({"train": colours.records("train")[:3], "val": colours.records("val")})
    with pytest.raises(UserError, match=r"can spare a clip .* --best last"):
        evaluate(tiny_backbone(), data, replace(TUNE, recipe=replace(RECIPE, batch_size=2)), runtime)


def test_mixing_is_said_in_words(colours: Dataset, runtime: Runtime) -> None:
    recipe = replace(Recipe(), batch_size=4, epochs=1, warmup_epochs=0.0, precision="fp32", best="last", views="1x1")
    result = evaluate(tiny_backbone(), colours, replace(TUNE, recipe=recipe), runtime)
    line = next(line for line in result.protocol if line.startswith("training clips"))
    assert "RandAugment m7 n4, erasing 0.25, mixup 0.8, CutMix 1, label smoothing 0.1" in line
    assert "view_logits" not in result.tables
    paper = replace(recipe, mix=replace(recipe.mix, cutmix_axes="paper"))
    result = evaluate(tiny_backbone(), colours, replace(TUNE, recipe=paper), runtime)
    assert any("CutMix 1 of time x height" in line for line in result.protocol)


def test_a_backbone_of_ones_own_needs_no_layers_without_layer_decay(colours: Dataset, runtime: Runtime) -> None:
    class Mean(Backbone):
        family, variant, embed_dim = "mean", "own", 3

        def __init__(self) -> None:
            super().__init__()
            self.clip_spec, self.weights = tiny_backbone().clip_spec, tiny_backbone().weights
            self.scale = torch.nn.Parameter(torch.ones(3))

        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            return clips.mean(dim=(2, 3, 4)) * self.scale

    with pytest.raises(Exception, match="mean has no layers to decay"):
        evaluate(Mean(), colours, TUNE, runtime)
    recipe = replace(RECIPE, layer_decay=1.0)
    assert evaluate(Mean(), colours, replace(TUNE, recipe=recipe), runtime).metric("top-1", "fine-tuned").value == 100


def test_without_augmentation_the_online_probe_is_sgd_on_features(colours: Dataset, runtime: Runtime) -> None:
    """The same head, trained here by hand on features extracted once, gives the same scores."""
    recipe = replace(RECIPE, optimizer="sgd", base_lr=6.4, weight_decay=1e-3, layer_decay=1.0, best="last", views="1x1")
    online = evaluate(tiny_backbone(), colours, OnlineProbe(recipe=recipe, decoder="pyav"), runtime)
    backbone, train, test = tiny_backbone().eval(), colours.records("train"), colours.records("val")
    spec = backbone.clip_spec

    def features(records: Sequence[VideoRecord]) -> torch.Tensor:
        clips = torch.cat([load_clip(record.path, record.id, spec, "pyav").pixels for record in records])
        with torch.no_grad():
            embedded: torch.Tensor = backbone(normalise(clips, spec.mean, spec.std))
        return embedded

    known, labels = features(train), torch.tensor([record.label for record in train])
    head = Classifier(backbone, 3, frozen=True).head
    optimizer = torch.optim.SGD([head.weight], lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)
    optimizer.add_param_group({"params": [head.bias], "weight_decay": 0.0})
    order = ClipSampler(size=15, batch_size=4, seed=0)
    for step in range(4 * 3):
        for group in optimizer.param_groups:  # 0.1 = 6.4 x 4 / 256; an epoch (3 steps) of warm-up, half a cosine down
            group["lr"] = 0.1 * ((step + 1) / 4 if step < 3 else (1 + np.cos(np.pi * (step - 3) / 9)) / 2)
        rows = [draw.index for draw in order.draws(step)]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(known[rows]), labels[rows]).backward()
        optimizer.step()
    expected = head(features(test)).log_softmax(1).detach().numpy()
    np.testing.assert_allclose(np.stack(online.tables["logits"]["logits"]), expected, rtol=1e-3, atol=1e-4)
