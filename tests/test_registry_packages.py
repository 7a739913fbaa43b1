"""Plug-ins that other installed packages bring, good ones and bad ones."""

from pathlib import Path

import pytest
import torch

from tvts_bench import registry
from tvts_bench.backbones.base import BackboneError
from tvts_bench.backbones.detect import families, family
from tvts_bench.backbones.loading import inspect_checkpoint, load_backbone
from tvts_bench.errors import UserError

GOOD = """
import torch
from tvts_bench.backbones import NetworkBackbone, OpenFamily, random_weights
from tvts_bench.backbones.pixels import CARD
from tvts_bench.video.spec import ClipSpec

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.out = torch.nn.Linear(3, 4)
    def forward(self, clips):
        return self.out(clips.mean((2, 3, 4)))

def matches(signature):
    return signature.has("other_package.out")

def load(checkpoint, variant, seed):
    network, weights = random_weights(Net, seed)
    return NetworkBackbone(network=network, family="good_net", variant="small", embed_dim=4,
                           clip_spec=ClipSpec(num_frames=2, short_side=8, crop=8), weights=weights)

FAMILY = OpenFamily(variants=("small",), card=CARD, matches=matches, load=load)
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where installed packages are found."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def install(site: Path, package: str, module: str, **families: str) -> None:
    """A package on disk as pip leaves it: a module, and a dist-info that names its families."""
    (site / f"{package}.py").write_text(module)
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    points = "".join(f"{name} = {target}\n" for name, target in families.items())
    (info / "entry_points.txt").write_text(f"[tvts_bench.backbones]\n{points}")


def test_another_packages_family_is_one_of_all(site: Path) -> None:
    install(site, "good_package", GOOD, **{"good-net": "good_package"})
    assert registry.names("backbones")[-1] == "good_net"
    assert not registry.is_own("backbones", "good_net")
    assert registry.is_own("backbones", "tvts")
    for name in ("good_net", "good-net", "good-net:small"):
        backbone = load_backbone(name, seed=3)
        assert (backbone.family, backbone.weights.name) == ("good_net", "random init (seed 3)")
    found = families()
    assert "good_net" in found.usable
    assert found.problems == ()
    assert "good_net" not in registry.names("datasets")


def test_names_of_ours_stay_ours(site: Path) -> None:
    install(site, "taker", GOOD, tvts="taker")
    assert registry.load("backbones", "tvts").__name__ == "tvts_bench.backbones.tvts"
    assert families().problems == ("the package taker: backbone 'tvts' is not used, tvts-bench has its own",)


def test_a_name_of_two_packages_is_nobodys(site: Path) -> None:
    install(site, "first_taker", GOOD, wanted="first_taker")
    install(site, "second_taker", GOOD, wanted="second_taker")
    both = "the package first_taker and the package second_taker"
    with pytest.raises(UserError, match=f"'wanted' is provided by {both}: uninstall all but one"):
        registry.load("backbones", "wanted")
    found = families()
    assert "tvts" in found.usable
    assert any(both in problem for problem in found.problems)


BROKEN = {
    "no module": ("", "nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
    "no syntax": ("def (", "{package}", "SyntaxError"),
    "an end": ("raise SystemExit(0)", "{package}", "SystemExit: 0"),
    "an error": ("raise RuntimeError('no licence')", "{package}", "RuntimeError: no licence"),
    "no family": ("VARIANTS = ('a',)", "{package}", "has no FAMILY"),
    "half a family": (
        "import types; FAMILY = types.SimpleNamespace(variants=('a',))",
        "{package}",
        "has no card, matches, load in its FAMILY",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_one_is_said_by_name_and_breaks_nothing_else(site: Path, kind: str) -> None:
    package = "broken_" + kind.replace(" ", "_")
    module, target, said = BROKEN[kind]
    install(site, package, module, broken=target.format(package=package))
    found = families()
    assert {"tvts", "pixels"} <= set(found.usable)
    (problem,) = found.problems
    assert said in problem
    assert "broken" in problem
    with pytest.raises(UserError) as caught:
        load_backbone("broken")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert load_backbone("pixels").family == "pixels"


def test_a_family_whose_library_is_missing_says_which(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tvts_bench.backbones

    monkeypatch.setattr(tvts_bench.backbones, "PLUGINS", ("pixels", "needs_more"))
    monkeypatch.setattr(tvts_bench.backbones, "__path__", [*tvts_bench.backbones.__path__, str(site)])
    (site / "needs_more.py").write_text("import rare_library.part")
    with pytest.raises(BackboneError, match="needs the library rare_library, which is not installed: pip install"):
        family("needs_more")
    found = families()
    assert list(found.usable) == ["pixels"]
    assert "rare_library" in found.problems[0]


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("raise KeyError('out')", r"odd of another package fails \(KeyError\('out'\)\)"),
        ("return torch.nn.Linear(3, 4)", "odd made a Linear, expected a tvts_bench Backbone"),
    ],
)
def test_a_family_that_fails_or_makes_something_else_is_said_by_name(site: Path, load: str, said: str) -> None:
    package = f"odd_{load.split()[0]}"
    install(site, package, GOOD.replace("    network, weights = random_weights(Net, seed)", f"    {load}"), odd=package)
    with pytest.raises(BackboneError, match=said):
        load_backbone("odd")


def test_a_family_without_a_report_is_inspected_without_a_traceback(site: Path) -> None:
    install(site, "silent_package", GOOD, silent="silent_package")
    torch.save({"other_package.out": torch.zeros(2)}, site / "x.pth")
    assert "does not say which tensors it took" in (inspect_checkpoint(site / "x.pth").refused or "")
