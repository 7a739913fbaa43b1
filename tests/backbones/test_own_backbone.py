"""A user's own module as a backbone."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.support.feature_world import SPEC, make_records, run
from tvts_bench import ClipSpec, as_backbone
from tvts_bench.backbones.base import BackboneError, tensors_sha256
from tvts_bench.runtime import Runtime


class Net(nn.Module):
    """Batch statistics and a projection: refuses one clip in training mode, as many networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.out = nn.Linear(3, 5)

    def forward(self, clips: Tensor) -> Tensor:
        return self.out(self.norm(clips.mean(dim=(2, 3, 4))))  # type: ignore[no-any-return]


def test_a_module_becomes_a_backbone() -> None:
    net = Net().train()
    backbone = as_backbone(net, "my-net", SPEC)
    assert (backbone.variant, backbone.embed_dim, backbone.clip_spec) == ("my-net", 5, SPEC)
    assert net.training  # as it was
    clips = torch.randn(2, 3, 4, 32, 32)
    torch.testing.assert_close(backbone.eval()(clips), net.eval()(clips))


def test_the_input_is_the_papers_unless_said() -> None:
    assert as_backbone(Net(), "my-net").clip_spec == ClipSpec()


@pytest.mark.parametrize(
    ("module", "got"), [(nn.Identity(), r"\[1, 3, 4, 32, 32\]"), (nn.AdaptiveAvgPool3d(1), r"\[1, 3, 1, 1, 1\]")]
)
def test_another_shape_is_refused_at_once(module: nn.Module, got: str) -> None:
    with pytest.raises(BackboneError, match=f"returned {got}"):
        as_backbone(module, "odd", SPEC)


def test_the_digest_is_of_every_tensor() -> None:
    net = Net()
    before = tensors_sha256(net)
    assert tensors_sha256(net) == before
    with torch.no_grad():
        net.out.bias[3] += 1e-3
    after = tensors_sha256(net)
    net.norm.running_mean[0] = 7  # type: ignore[index]  # a buffer
    assert len({before, after, tensors_sha256(net), tensors_sha256(net.half())}) == 4


def test_features_of_a_module_that_was_trained_further_are_new(tmp_path: Path) -> None:
    records, runtime = make_records(tmp_path / "videos", 3), Runtime(workers=0, cache=tmp_path / "cache")
    backbone = as_backbone(Net(), "my-net", SPEC)
    first = run(backbone, records, runtime)
    assert run(backbone, records, runtime).reused == 3
    with torch.no_grad():
        backbone.get_parameter("module.out.bias").add_(1)
    second = run(backbone, records, runtime)
    assert second.computed == 3
    torch.testing.assert_close(torch.from_numpy(second.values), torch.from_numpy(first.values) + 1)
