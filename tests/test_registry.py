"""Plug-ins are found by name, and a miss says what there is."""

from importlib import import_module
from pathlib import Path

import pytest

from tvts_bench import registry
from tvts_bench.errors import UserError

PACKAGES = ("datasets", "backbones", "evaluators")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_listed_name_loads_and_is_its_module(package: str) -> None:
    names = registry.names(package)
    assert len(set(names)) == len(names) > 0
    for name in names:
        assert registry.load(package, name).__name__ == f"tvts_bench.{package}.{name}"


def test_hyphen_and_underscore_are_the_same() -> None:
    assert registry.load("datasets", "scripted-motion") is registry.load("datasets", "scripted_motion")


def test_a_miss_names_the_close_ones_and_all() -> None:
    with pytest.raises(UserError, match=r"unknown dataset 'scv2' \(did you mean ssv2\?\); there are: .*ucf101"):
        registry.load("datasets", "scv2")
    with pytest.raises(UserError, match="unknown backbone 'resnet'; there are: tvts, pixels"):
        registry.load("backbones", "resnet")


@pytest.mark.parametrize("name", ["base", "loading", "__init__", "../ssv2", "ssv2.x", "", "Ssv2"])
def test_only_listed_modules_are_plugins(name: str) -> None:
    with pytest.raises(UserError):
        registry.load("datasets", name)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_plugin_file_of_that_name_exists(package: str) -> None:
    folder = Path(str(import_module(f"tvts_bench.{package}").__file__)).parent
    there = {path.stem if path.is_file() else path.name for path in folder.iterdir()}
    assert set(registry.names(package)) <= there
