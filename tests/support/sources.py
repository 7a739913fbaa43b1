"""Sources of small files, as tests build them."""

from pathlib import Path
from typing import Any

import numpy as np

from pretrain.data.build import build_source
from pretrain.data.clip_sampling import CropConfig, SegmentConfig
from pretrain.data.sources import Source, SourceConfig

SEGMENTS = SegmentConfig(segments=3, lengths=(2.0, 3.0), gap=1.0)  # spans of 8 and 11 s


CROP = CropConfig(size=16, short_side=20)


def build(root: Path, kind: str, tmp_path: Path, **fields: Any) -> Source:
    config = SourceConfig(kind=kind, root=root, **{"frames": 8, **fields})  # type: ignore[arg-type]
    return build_source(config, SEGMENTS, CROP, cache=tmp_path / "cache")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)
