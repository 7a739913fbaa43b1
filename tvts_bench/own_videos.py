"""Features and search for anyone's own videos: no data set, no labels."""

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvts_bench.backbones.base import Backbone, adaptation_notes, tensors_sha256
from tvts_bench.csv_files import csv_text
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.datasets.files import is_video_name, walk_videos
from tvts_bench.datasets.lines import VIDEO_EXTENSIONS
from tvts_bench.errors import UserError
from tvts_bench.features.base import Dtype, Features
from tvts_bench.features.extraction import extract
from tvts_bench.metrics.measured import damage_line, failure_line
from tvts_bench.neighbors import Embedded, nearest
from tvts_bench.provenance import canonical, digest, versions
from tvts_bench.results import write_atomically
from tvts_bench.results.files import as_parquet
from tvts_bench.runtime import Runtime

SUFFIXES = (".parquet", ".npz", ".csv")


class OwnVideosError(UserError):
    """Files that cannot be embedded or searched as asked."""


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedFiles:
    """Features of files, with what made them."""

    features: Features
    provenance: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A video that was found."""

    path: str
    similarity: float  # cosine, -1 to 1


@dataclass(frozen=True, kw_only=True)
class Found:
    """The answer of a search."""

    hits: tuple[Hit, ...]
    searched: int  # videos in the gallery
    failed: Mapping[str, str]  # path -> reason
    damaged: tuple[str, ...] = ()  # paths of searched files of which a part had to be made up


def video_files(paths: Iterable[Path]) -> list[Path]:
    """The files named, and the videos in the folders named (by suffix, subfolders included), each once.

    Raises:
        OwnVideosError: a path does not exist, or a folder holds no video.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if _is_folder(path):
            inside = walk_videos(path)
            if not inside:
                known = ", ".join(sorted(VIDEO_EXTENSIONS))
                raise OwnVideosError(f"no video in {path} or its subfolders; known suffixes: {known}")
            found.update(dict.fromkeys(path / name for name in inside))
        elif path.exists():
            found[path] = None
        else:
            raise OwnVideosError(f"{path} does not exist")
    return list(found)


def embed_files(
    paths: Sequence[Path], backbone: Backbone, *, decoder: str, dtype: Dtype, runtime: Runtime
) -> EmbeddedFiles:
    """Features of files and of the videos in folders. Unreadable ones are listed, never replaced.

    Raises:
        OwnVideosError: nothing can be read, or something cannot and `runtime.strict` is set.
    """
    return _embed(video_files(paths), backbone, decoder, dtype, runtime)


def _embed(files: Iterable[Path], backbone: Backbone, decoder: str, dtype: Dtype, runtime: Runtime) -> EmbeddedFiles:
    adapted = adaptation_notes(backbone, backbone.clip_spec)
    records = [VideoRecord(id=str(path), path=path, label=0) for path in files]
    features = _extract(records, backbone, decoder, dtype, runtime)
    if features.failed and (runtime.strict or not features.ids):
        first, reason = next(iter(features.failed.items()))
        raise OwnVideosError(
            f"{len(features.failed)} of {len(records)} videos failed, the first: {failure_line(first, reason)}"
        )
    if features.damaged and runtime.strict:
        raise OwnVideosError(damage_line(features.damaged, len(records), "these videos"))
    provenance = {
        "backbone": f"{backbone.family}:{backbone.variant}",
        "weights": backbone.weights.name,
        "weights_sha256": backbone.weights.sha256,
        "tensors_sha256": tensors_sha256(backbone),
        "clip": canonical(backbone.clip_spec),
        "adaptations": list(adapted),
        "dtype": dtype,
        "decoders": dict(features.decoders),
        "damaged": list(features.damaged),
        "features_computed_by": dict(features.computed_by),
        "versions": versions(),
    }
    return EmbeddedFiles(features=features, provenance=provenance)


def most_similar(
    query: Path, folder: Path, k: int, backbone: Backbone, *, decoder: str, dtype: Dtype, runtime: Runtime
) -> Found:
    """The `k` videos under `folder` nearest to `query` by cosine; the query itself is left out if it lies there.

    Raises:
        OwnVideosError: the query cannot be read, or the folder holds no readable video.
        NeighborError: `k` is larger than the gallery.
    """
    if not folder.is_dir():
        raise OwnVideosError(f"{folder} is not a folder")
    if _is_folder(query):
        raise OwnVideosError(f"the query {query} is a folder; give one video")
    unique: dict[str, Path] = {}  # a file under several names is one hit, the first by name
    for path in video_files([folder]):
        unique.setdefault(os.path.realpath(path), path)
    gallery = _embed(unique.values(), backbone, decoder, dtype, runtime).features
    asked = embed_files([query], backbone, decoder=decoder, dtype=dtype, runtime=runtime).features
    resolved = [str(Path(item).resolve()) for item in gallery.ids]
    found = nearest(
        Embedded(ids=[str(query.resolve())], values=asked.values),
        Embedded(ids=resolved, values=gallery.values),
        k,
        device=runtime.device,
    )
    pairs = zip(found.indices[0], found.similarities[0], strict=True)
    hits = tuple(Hit(path=gallery.ids[index], similarity=float(value)) for index, value in pairs if index >= 0)
    return Found(hits=hits, searched=len(gallery.ids), failed=dict(gallery.failed), damaged=gallery.damaged)


def write_features(embedded: EmbeddedFiles, path: Path) -> None:
    """Write features by the suffix of `path`: Parquet (id, embedding), NumPy (ids, values) or CSV (id, f0, f1, ...).

    Parquet carries the provenance in its metadata, npz as a JSON string; CSV cannot.

    Raises:
        OwnVideosError: another suffix.
        ResultError: the file cannot be written.
    """
    import json

    require_known_suffix(path)
    features, provenance = embedded.features, json.dumps(canonical(embedded.provenance))
    if path.suffix == ".npz":
        buffer = io.BytesIO()
        np.savez(buffer, ids=np.array(features.ids), values=features.values, provenance=np.array(provenance))
        write_atomically(path, buffer.getvalue())
    elif path.suffix == ".csv":
        header = ["id", *(f"f{column}" for column in range(features.values.shape[1]))]
        rows = ([name, *row] for name, row in zip(features.ids, features.values.tolist(), strict=True))
        write_atomically(path, csv_text([header, *rows]))
    elif path.suffix == ".parquet":
        columns = {"id": features.ids, "embedding": list(features.values)}
        write_atomically(path, as_parquet(columns, {"tvts_bench": provenance}))
    else:
        raise AssertionError(path)


def require_known_suffix(path: Path) -> None:
    """Refuse a file that features cannot be written to: to be asked before they are computed, too.

    Raises:
        OwnVideosError: the suffix is none of `SUFFIXES`, or there is a folder of that name.
    """
    if path.suffix not in SUFFIXES:
        raise OwnVideosError(f"cannot write features to {path}: the suffix must be one of {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise OwnVideosError(f"cannot write features to {path}: it is a folder; give the name of a file in it")


def _is_folder(path: Path) -> bool:
    """Whether to look into `path`; a folder named like a video is for the decoder to refuse."""
    return path.is_dir() and not is_video_name(path.name)


def _extract(
    records: Sequence[VideoRecord], backbone: Backbone, decoder: str, dtype: Dtype, runtime: Runtime
) -> Features:
    fingerprint = digest([record.id for record in records])
    clip = backbone.clip_spec
    return extract(backbone, records, fingerprint, clip=clip, decoder=decoder, dtype=dtype, runtime=runtime)
