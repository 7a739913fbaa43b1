"""Which family a file is of: one, several or none, and never a guess."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from tvts_bench.backbones.detect import BackboneFamily, CheckpointSignature, candidates, describe, families, nearest
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.models.checkpoint import CheckpointError


def family(*typical: str, own: str | None = None) -> BackboneFamily:
    """A family that says yes to files with a tensor `own`."""
    card = replace(families().usable["pixels"].card, tensor_names=typical)
    return cast(
        BackboneFamily,
        SimpleNamespace(
            variants=("base",), card=card, matches=lambda signature: own is not None and signature.has(own)
        ),
    )


def layout(names: Iterable[str]) -> CheckpointSignature:
    return CheckpointSignature(container=None, shapes=dict.fromkeys(names, (1,)))


def test_all_families_that_say_yes_are_candidates() -> None:
    usable = {"one": family(own="a"), "two": family(own="b"), "three": family(own="a")}
    assert candidates(layout(["a", "c"]), usable) == ["one", "three"]
    assert candidates(layout(["b"]), usable) == ["two"]
    assert candidates(layout(["c"]), usable) == []


def test_the_nearest_have_most_of_the_typical_names() -> None:
    usable = {
        "far": family("x", "y", "blocks.0.q", "z"),
        "half": family("blocks.0.q", "other"),
        "near": family("blocks.0.q", "norm", "blocks.11.k"),
        "silent": family(),
    }
    names = ["module.blocks.3.q", "module.blocks.4.k", "module.norm", "module.abnorm"]
    assert nearest(names, usable) == ["near (3 of 3 typical names)", "half (1 of 2 typical names)"]


def test_a_file_of_none_is_refused_with_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"model": {"layer1.0.conv1.weight": torch.zeros(1), "b": torch.zeros(1)}}, path)
    with pytest.raises(CheckpointError) as caught:
        load_backbone(checkpoint=path)
    said = str(caught.value)
    for part in (
        str(path),
        "is of no known backbone",
        "looks like a ResNet",
        "layer1.0.conv1.weight, b;",
        "--backbone",
    ):
        assert part in said


def test_a_description_lists_three_names() -> None:
    assert describe(["a", "b", "c", "d"]) == "its tensors are called a, b, c and so on"
    assert describe(["a"]) == "its tensors are called a"


INSTALLED = """
from dataclasses import replace
from tvts_bench.backbones.pixels import FAMILY
FAMILY = replace(FAMILY, variants=("only",), matches=lambda signature: {answer})
"""


def installed(folder: Path, package: str, name: str, answer: str) -> None:
    """A package on disk as pip leaves it, with one family."""
    (folder / f"{package}.py").write_text(INSTALLED.format(answer=answer))
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[tvts_bench.backbones]\n{name} = {package}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where installed packages are found."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def save_tvts_like(path: Path) -> None:
    torch.save(load_backbone("tvts:tiny").get_submodule("encoder").state_dict(), path)


def test_a_file_of_several_is_refused_with_the_way_to_choose(site: Path) -> None:
    installed(site, "ambiguous_family", "twin", "signature.has('temporal_embed')")
    save_tvts_like(site / "x.pth")
    with pytest.raises(CheckpointError, match=r"several backbones \(tvts, twin\).*--backbone tvts or --back"):
        load_backbone(checkpoint=site / "x.pth")
    assert load_backbone("tvts", site / "x.pth").family == "tvts"


def test_a_family_of_another_package_that_fails_is_said_and_passed_over(
    site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    installed(site, "failing_family", "failing", "signature.nonsense")
    save_tvts_like(site / "x.pth")
    assert load_backbone(checkpoint=site / "x.pth").family == "tvts"
    assert "backbone failing of another package fails" in caplog.text
