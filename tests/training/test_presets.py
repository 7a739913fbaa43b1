"""Every data set has a recipe for both tasks; none mirrors what direction decides; habits change what they name."""

from dataclasses import replace

import pytest

from tvts_bench import registry
from tvts_bench.datasets import PLUGINS
from tvts_bench.errors import UserError
from tvts_bench.training.presets import FINETUNE, OFFICIAL_QUIRKS, PROBE, QUIRKS, preset, preset_name, with_quirks
from tvts_bench.training.recipe import MixConfig, Recipe
from tvts_bench.video.spec import ClipAugment


def test_both_tasks_have_the_same_names() -> None:
    assert set(FINETUNE) == set(PROBE)


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("ssv2", "ssv2"),
        ("k400", "k400"),
        ("ucf101-fold1", "ucf101"),
        ("hmdb51-fold3", "hmdb51"),
        ("scripted_motion-ssv2", "scripted_motion:ssv2"),
        ("scripted_motion-ucf101-fold2", "scripted_motion:ucf101"),
        ("folder", "own"),
        ("list", "own"),
    ],
)
def test_a_data_set_finds_its_preset(dataset: str, name: str) -> None:
    assert preset_name(dataset) == name
    assert preset("probe", dataset) is PROBE[name]
    assert preset("finetune", dataset) is FINETUNE[name]


def test_every_data_set_of_the_bench_has_one_of_its_own_or_the_common_one() -> None:
    for plugin in PLUGINS:
        variants = registry.load("datasets", plugin).INFO.variants
        names = [f"{plugin}-{variant}" for variant in variants] or [plugin]
        for name in names:
            assert preset_name(name) != "own" or plugin in ("folder", "list"), name


def test_ssv2_is_the_official_recipe() -> None:
    finetune, probe = FINETUNE["ssv2"], PROBE["ssv2"]
    assert (finetune.optimizer, probe.optimizer) == ("adamw", "sgd")
    assert (finetune.epochs, finetune.warmup_epochs, finetune.layer_decay, finetune.drop_path) == (50, 5, 0.75, 0)
    assert (finetune.lr, finetune.weight_decay) == pytest.approx((1.5e-3, 0.05))
    assert (probe.lr, probe.weight_decay) == pytest.approx((0.15, 1e-9), rel=1e-6, abs=0)
    assert (probe.epochs, probe.warmup_epochs, probe.momentum) == (100, 10, 0.9)
    for recipe in (finetune, probe):
        assert recipe.batch_size == 384  # 12 a GPU on 32
        assert recipe.mix == MixConfig(mixup=0.8, cutmix=1.0, smoothing=0.1)
        assert recipe.augment == ClipAugment(flip=0.0, operations=4, magnitude=7, magnitude_std=0.5, erase=0.25)
        assert recipe.num_views == (2, 3)


def test_nothing_is_mirrored_where_left_and_right_are_different_classes() -> None:
    for table in (FINETUNE, PROBE):
        mirrored = {name for name, recipe in table.items() if recipe.augment.flip > 0}
        assert mirrored == {"k400", "ucf101", "hmdb51"}


def test_a_probe_trains_one_layer() -> None:
    assert {recipe.layer_decay for recipe in PROBE.values()} == {1.0}


def test_each_habit_changes_what_it_names() -> None:
    recipe = Recipe()
    assert with_quirks(recipe, ["cutmix-axes"]) == replace(recipe, mix=MixConfig(cutmix_axes="paper"))
    assert with_quirks(recipe, ["temporal-embed"]) == replace(recipe, time_table="head")
    assert with_quirks(recipe, ["logits"]) == replace(recipe, average="logits")
    assert with_quirks(recipe, ["best-on-test"]) == replace(recipe, best="test")
    assert with_quirks(PROBE["ssv2"], ["adamw-probe"]) == replace(PROBE["ssv2"], optimizer="adamw")
    assert with_quirks(recipe, []) is recipe


def test_paper_stands_for_all_that_made_the_published_numbers() -> None:
    assert with_quirks(Recipe(), ["paper"]) == with_quirks(Recipe(), OFFICIAL_QUIRKS)
    assert with_quirks(Recipe(), ["paper"]) == replace(
        Recipe(), mix=MixConfig(cutmix_axes="paper"), time_table="head", average="logits", best="test"
    )
    assert set(OFFICIAL_QUIRKS) < set(QUIRKS)


def test_an_unknown_habit_says_what_there_is() -> None:
    with pytest.raises(UserError, match=r"no habit 'logit' \(did you mean logits\?\); there are: paper, cutmix-axes"):
        with_quirks(Recipe(), ["logit"])
