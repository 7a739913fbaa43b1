"""Small narrated videos whose frames tell their second, and transcripts to go with them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

FPS = 4


def write_seconds(path: Path, seconds: int) -> Path:
    """A video of `seconds`, 32 x 32, 4 frames a second, grey of level 10 + 5 x second; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream: Any = container.add_stream("mpeg4" if path.suffix == ".avi" else "libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.gop_size = 8
        for number in range(seconds * FPS):
            picture = np.full((32, 32, 3), 10 + 5 * (number // FPS), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def second_of(frames: Tensor) -> Tensor:
    """Seconds that the frames [..., H, W] of such a video tell, by their mean level. Float."""
    return (frames.float().mean(dim=(-2, -1)) - 10) / 5


def yt_temporal(seconds: int, every: float = 0.5) -> dict[str, Any]:
    """An annotation in which the words said are the times they are said at: "t0.5", "t1.0", ..."""
    words = [f"t{i * every}" for i in range(int(seconds / every))]
    return {
        "subtitles": [{"word": word, "time": i * every} for i, word in enumerate(words)],
        "denoised": [{"noisyasr": " ".join(words), "cleanasr": " ".join(word.upper() for word in words)}],
        "info": {"id": "x", "duration": seconds},
    }


def write_json(path: Path, content: Any) -> Path:
    """`content` as JSON; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_yt_tree(root: Path, seconds: Sequence[int], split: str = "train") -> Path:
    """A YT-Temporal tree with one video of each length."""
    names = []
    for number, length in enumerate(seconds):
        name = f"subset_{number % 2}/data/{split}{number}.mp4"
        names.append(name)
        write_seconds(root / "videos" / name, length)
        annotation = root / "videos" / f"subset_{number % 2}" / "annotations" / f"{split}{number}.json"
        write_json(annotation, yt_temporal(length))
    (root / "meta_data").mkdir(exist_ok=True)
    (root / "meta_data" / f"yttemporal_{split}.csv").write_text("\n".join(["Name", *names, ""]))
    return root


def tokenize(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """One token a character, its code point; picklable."""
    ids = torch.zeros(len(texts), max(map(len, texts), default=0) or 1, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor([ord(character) for character in text])
        mask[row, : len(text)] = 1
    return ids, mask


def detokenize(ids: Tensor, mask: Tensor) -> str:
    """The text of one row."""
    return "".join(chr(int(code)) for code in ids[mask.bool()])
