"""Exports give the features of the training process, to this package and to the official code."""

from pathlib import Path

import pytest
import torch

from pretrain.data.loading import NarratedBatch
from pretrain.model.tvts import TVTS
from pretrain.run_folder import load_state
from pretrain.runs import begin, export_run
from tests.support.narration_files import write_yt_tree
from tests.support.tiny_run import tiny
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.features.extraction import extract
from tvts_bench.runtime import Runtime
from tvts_bench.training.checkpoint import LAST
from tvts_bench.training.trainer import Trainer
from tvts_bench.video.clips import load_clip
from tvts_bench.video.spec import IMAGENET_MEAN, IMAGENET_STD
from tvts_bench.video.transforms import normalise


def test_exports_load_as_backbones_with_the_runs_own_features(uninterrupted: Path, tmp_path: Path) -> None:
    own = load_backbone("tvts", export_run(uninterrupted, "safetensors", tmp_path / "deep" / "own.safetensors"))
    assert own.weights.report is not None
    assert own.weights.report.format == "tvts-bench safetensors"
    path = export_run(uninterrupted, "official", tmp_path / "official.pth")
    content = torch.load(path, weights_only=True)
    assert list(content) == ["arch", "epoch", "state_dict", "optimizer", "monitor_best", "config"]
    parts = {".".join(name.split(".")[:3]) for name in content["state_dict"] if "_proj" in name}
    assert parts == {"module.txt_proj.1", "module.vid_proj.0"}
    state = load_state(uninterrupted / "checkpoints" / LAST)
    assert set(content["state_dict"]) == {f"module.{name}" for name in state.model}
    for name, tensor in own.state_dict().items():
        assert torch.equal(tensor, state.model[name.replace("encoder.", "video_model.", 1)])


def test_retrieval_sees_the_features_of_the_training_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model as it is in memory when training ends, against the file it leaves, through the bench's extraction."""
    trained: list[Trainer[NarratedBatch]] = []
    train = Trainer.run

    def kept(self: Trainer[NarratedBatch]) -> None:
        trained.append(self)
        train(self)

    monkeypatch.setattr(Trainer, "run", kept)
    size = ("video.embed_dim=128", "video.depth=4", "video.num_heads=4", "video.patch_size=8", "video.num_frames=16")
    written = begin(*tiny(tmp_path, "steps=3", "text.dim=128", *size))
    root = write_yt_tree(tmp_path / "videos", [2, 3, 4])
    records = [VideoRecord(id=path.stem, path=path, label=0) for path in sorted(root.rglob("*.mp4"))]
    assert len(records) == 3

    backbone = load_backbone(None, written)
    runtime = Runtime(cache=tmp_path / "cache", workers=0, batch_size=2)
    clip = backbone.clip_spec
    (found,) = extract([backbone], records, "videos", clip=clip, decoder="pyav", dtype="fp32", runtime=runtime)

    model = trained[0].model.eval()
    assert isinstance(model, TVTS)
    pixels = torch.stack([load_clip(record.path, record.id, clip).pixels[0] for record in records])
    with torch.no_grad():
        own = model.video_model(normalise(pixels, IMAGENET_MEAN, IMAGENET_STD))[:, 0]  # as in a step, nothing dropped
    assert found.ids == tuple(record.id for record in records)
    torch.testing.assert_close(torch.from_numpy(found.values), own, rtol=1e-5, atol=1e-5)
    assert torch.cdist(own, own)[0, 1:].min() > 1e-3  # they differ from clip to clip


def test_what_the_official_layout_has_no_place_for_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    begin(*tiny(tmp_path, "steps=1", "text.dim=16"))
    content = torch.load(export_run(tmp_path / "run", "official", None), weights_only=True)
    assert not [name for name in content["state_dict"] if "adapter" in name]
    assert "backbone.pth lacks txt_adapter, which the official layout has no place for" in caplog.text


def test_an_official_export_is_read_as_the_official_checkpoint(tmp_path: Path) -> None:
    size = ("video.embed_dim=128", "video.depth=4", "video.num_heads=4", "video.patch_size=8", "video.num_frames=16")
    begin(*tiny(tmp_path, "steps=1", "text.dim=128", *size))
    path = export_run(tmp_path / "run", "official", None)
    backbone = load_backbone(None, path)
    assert (backbone.family, backbone.variant) == ("tvts", "tiny")
    assert backbone.weights.report is not None
    assert backbone.weights.report.format == "official TVTS training checkpoint"
    own = load_backbone(None, tmp_path / "run/backbone.safetensors")
    clips = torch.rand(2, 3, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(backbone.eval()(clips), own.eval()(clips))
