"""One table of official files of every family: each is recognised, fills its row, and shares the decoding."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.backbones import (
    test_clip,
    test_dinov2,
    test_dinov3,
    test_frozen,
    test_internvideo2_backbone,
    test_mcq,
    test_mocov3_and_mae,
    test_mvit,
    test_siglip2,
    test_svt,
    test_tanet,
    test_tclr,
    test_tsm,
    test_tvts2,
    test_tvts_backbone,
    test_umt_backbone,
    test_videomae2_backbone,
    test_vjepa2_backbone,
    test_vjepa_backbone,
)
from tests.support import videomae_files
from tests.support.altered import saved, trained
from tests.support.joint_files import encoder
from tests.support.official_divided import frozen, made, timesformer, tvts2
from tests.support.plain_videos import write_plain_video
from tvts_bench import torchvision_ops  # noqa: F401 - before torchvision
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.features import decoding
from tvts_bench.models.temporal_resnet import AdaptiveResNet
from tvts_bench.runtime import Runtime
from tvts_bench.table_runs import MeasurementRequest, fill_table
from tvts_bench.tables.base import CACHED_PROBE, RETRIEVAL, Column, Table, TableRow
from tvts_bench.video.clips import Clip, load_clip

from torchvision.models.resnet import Bottleneck, ResNet  # isort: skip
from torchvision.models.video.mvit import MSBlockConfig, MViT  # isort: skip
from transformers import CLIPVisionModelWithProjection  # isort: skip

COLUMNS = (
    Column(name="r1", heading="R@1", dataset="folder", metric="R@1", protocols=(RETRIEVAL,)),
    Column(name="linear", heading="top-1", dataset="folder", metric="top-1", protocols=(CACHED_PROBE,)),
)
KERNEL = [3, 3, 3]
STAGES = [
    MSBlockConfig(2, 64, 128, [], KERNEL, [], [1, 2, 2]),
    MSBlockConfig(4, 128, 128, KERNEL, KERNEL, [1, 2, 2], [1, 1, 1]),
]


def mvit(path: Path) -> None:
    network = trained(MViT((32, 32), 16, STAGES, False, False, False, False, num_classes=10))
    saved(path, {"epoch": 200, "model_state": test_mvit.slowfast(network), "optimizer_state": {}, "cfg": "x"})


def clip(path: Path) -> None:
    test_clip.archived(path, test_clip.official(trained(CLIPVisionModelWithProjection(test_clip.CONFIG))))


def tsm(path: Path) -> None:
    network = trained(ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=8, num_classes=10))
    saved(path, test_tsm.container(test_tsm.official(network)))


def tanet(path: Path) -> None:
    network = AdaptiveResNet((1, 1, 1, 1), 8, 8)
    trained(network)
    saved(path, {"state_dict": test_tanet.official(network)})


def images(name: str) -> Callable[[Path], object]:
    return lambda path: saved(
        path, test_mocov3_and_mae.official(name, dict(test_mocov3_and_mae.library().state_dict()))
    )


def videomae2(path: Path) -> None:
    saved(path, {"module": test_videomae2_backbone.distilled() | test_videomae2_backbone.head(710)})


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "tvts": (
        "TVTS_yt_pt.pth",
        lambda path: saved(path, test_tvts_backbone.official(test_tvts_backbone.trained(seed=7))),
    ),
    "tvts2": ("TVTSv2.pth", lambda path: test_tvts2.written(path, made(tvts2()))),
    "videomae": (
        "videomae.pth",
        lambda path: videomae_files.pretraining_file(path, videomae_files.pretrained()),
    ),
    "videomae2": ("videomae2.pth", videomae2),
    "umt": (
        "umt.pth",
        lambda path: test_umt_backbone.pretraining_file(path, encoder(1, separate_biases=True, norm="norm")),
    ),
    "svt": ("svt.pth", lambda path: test_svt.svt(path, made(timesformer()))),
    "timesformer": ("timesformer.pyth", lambda path: test_svt.facebook(path, made(timesformer(), seed=3))),
    "frozen": ("frozen.pth.tar", lambda path: test_frozen.written(path, "frozen", made(frozen()))),
    "miles": ("miles.pth", lambda path: test_frozen.written(path, "miles", made(frozen(), seed=5))),
    "mcq": ("MCQ.pth", lambda path: test_mcq.written(path, test_mcq.video_former())),
    "clip": ("ViT-B-16.pt", clip),
    "mvit": ("mvit.pyth", mvit),
    "mocov3": ("mocov3.pth.tar", images("mocov3")),
    "mae": ("mae.pth.tar", images("mae")),
    "tsm": ("tsm.pth", tsm),
    "tanet": ("tanet.pth.tar", tanet),
    "tclr": ("tclr.pth", lambda path: saved(path, test_tclr.container(test_tclr.official(test_tclr.small(False))))),
    "vjepa": ("vitl16.pth.tar", lambda path: test_vjepa_backbone.official_file(path, test_vjepa_backbone.target())),
    "vjepa2": ("vjepa2.pt", lambda path: test_vjepa2_backbone.written(path, test_vjepa2_backbone.official())),
    "internvideo2": (
        "internvideo2.pth",
        lambda path: test_internvideo2_backbone.stage1(path, test_internvideo2_backbone.official()),
    ),
    "dinov2": ("dinov2.pth", lambda path: saved(path, test_dinov2.official(trained(test_dinov2.timms())))),
    "dinov3": ("dinov3.pth", lambda path: saved(path, test_dinov3.official(test_dinov3.theirs()))),
    "siglip2": (
        "siglip2.safetensors",
        lambda path: test_siglip2.written(path, test_siglip2.official(test_siglip2.theirs())),
    ),
}
"""family -> an official file's name, and what writes one with random weights"""


@pytest.mark.slow
def test_every_familys_official_file_fills_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: Counter[object] = Counter()

    def counted(path: Path, record_id: str, spec: object, decoder: str) -> Clip:
        decoded[path, spec] += 1
        return load_clip(path, record_id, spec, decoder)  # type: ignore[arg-type]

    monkeypatch.setattr(decoding, "load_clip", counted)
    torch.manual_seed(0)
    checkpoints = {}
    for family, (name, write) in WRITERS.items():
        checkpoints[family] = tmp_path / "weights" / family / name
        checkpoints[family].parent.mkdir(parents=True)
        write(checkpoints[family])
    for split in ("train", "test"):
        for colour, value in (("red", (200, 20, 20)), ("blue", (20, 20, 200))):
            for shade in range(3):
                shaded = [part + 10 * shade + 5 * (split == "train") for part in value]
                write_plain_video(tmp_path / "videos" / split / colour / f"{shade}.mp4", shaded)
    rows = tuple(TableRow(name=family) for family in WRITERS)
    table = Table(name="table4", title="all", labels={}, columns=COLUMNS, rows=rows, baselines=("tvts",), examples=())
    asked = MeasurementRequest(
        table=table,
        rows=rows,
        checkpoints=checkpoints,
        datasets={"folder": load_dataset("folder", tmp_path / "videos")},
        decoder="pyav",
        dtype="fp32",
    )
    found = fill_table(asked, tmp_path / "out", Runtime(workers=0, cache=tmp_path / "cache"), print)
    empty = {cell: each.reason for cell, each in found.items() if not each.stored}
    assert not empty
    assert set(found) == {(row.name, column.name) for row in rows for column in COLUMNS}
    for (row, _), each in found.items():
        [(_, stored)] = each.stored
        assert stored.result.run.backbone["family"] == row
    assert set(decoded.values()) == {1}  # whoever shares a clip shares its decoding
    assert len(decoded) < 12 * len(WRITERS)
