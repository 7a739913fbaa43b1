"""Our own weight files: what is written is what is read, and equal weights make equal files."""

from pathlib import Path

import torch

from tvts_bench.models.checkpoint import read_checkpoint
from tvts_bench.models.saving import save_backbone, saved_config
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig

CONFIG = VideoTransformerConfig(embed_dim=8, depth=1, num_heads=2, image_size=8, patch_size=4, num_frames=4)
METADATA = {"step": "3", "objective": "ordnung: „k_way“", "config_digest": "abc", "seed": "0", "another": "{}"}


def test_equal_weights_make_equal_files(tmp_path: Path) -> None:
    model = VideoTransformer.seeded(CONFIG, seed=0)
    contents = set()
    for number in range(8):  # the library's order changes from call to call
        path = tmp_path / f"{number}.safetensors"
        save_backbone(path, model, METADATA if number % 2 else dict(reversed(METADATA.items())))
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_what_is_written_is_read(tmp_path: Path) -> None:
    model = VideoTransformer.seeded(CONFIG, seed=0)
    save_backbone(tmp_path / "x.safetensors", model, METADATA)
    checkpoint = read_checkpoint(tmp_path / "x.safetensors")
    assert saved_config(checkpoint) == CONFIG
    assert METADATA.items() <= checkpoint.metadata.items()
    assert checkpoint.tensors.keys() == model.state_dict().keys()
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in model.state_dict().items())
