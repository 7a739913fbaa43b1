"""Features and search for anyone's own videos: no data set, no labels."""

import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvts_bench.backbones.base import Backbone, adaptation_notes, tensors_sha256
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.datasets.files import is_video_name, walk_videos
from tvts_bench.datasets.lines import VIDEO_EXTENSIONS
from tvts_bench.errors import UserError
from tvts_bench.features.base import Dtype, Features
from tvts_bench.features.extraction import extract
from tvts_bench.metrics.measured import damage_line, failure_line
from tvts_bench.neighbors import EmbeddingSet, nearest
from tvts_bench.printable import csv_text
from tvts_bench.provenance import canonical, digest, versions
from tvts_bench.results import write_atomically
from tvts_bench.results.files import as_parquet
from tvts_bench.runtime import Runtime

SUFFIXES = (".parquet", ".npz", ".csv")


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedFiles:
    """Features of files, with what made them."""

    features: Features
    provenance: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A video among the most similar ones."""

    path: str
    similarity: float  # cosine, -1 to 1


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The answer of a search."""

    hits: tuple[Hit, ...]
    searched: int  # videos in the gallery
    failed: Mapping[str, str]  # path -> reason
    damaged: tuple[str, ...] = ()  # paths of searched files of which a part had to be made up


def video_files(paths: Iterable[Path]) -> list[Path]:
    """The files named, and the videos in the folders named (by suffix, subfolders included), each once.

    Raises:
        UserError: A path does not exist, or a folder holds no video.
    """
    files: dict[Path, None] = {}
    for path in paths:
        if _is_folder(path):
            names = walk_videos(path)
            if not names:
                known = ", ".join(sorted(VIDEO_EXTENSIONS))
                raise UserError(f"no video in {path} or its subfolders; known suffixes: {known}")
            files |= dict.fromkeys(path / name for name in names)
        elif path.exists():
            files[path] = None
        else:
            raise UserError(f"{path} does not exist")
    return list(files)


def embed_files(
    paths: Sequence[Path], backbone: Backbone, *, decoder: str, dtype: Dtype, runtime: Runtime
) -> EmbeddedFiles:
    """Features of files and of the videos in folders. Unreadable ones are listed, never replaced.

    Args:
        paths: Files, and folders that are searched with their subfolders.
        backbone: Embeds them, with its own clip.
        decoder: Of `video.reader.DECODERS`.
        dtype: Precision of the forward pass.
        runtime: Where and how fast.

    Raises:
        UserError: Nothing can be read, or something cannot and `runtime.strict` is set.
    """
    return _embed(video_files(paths), backbone, decoder, dtype, runtime)


def _embed(files: Iterable[Path], backbone: Backbone, decoder: str, dtype: Dtype, runtime: Runtime) -> EmbeddedFiles:
    clip = backbone.clip_spec
    adapted = adaptation_notes(backbone, clip)
    records = [VideoRecord(id=str(path), path=path, label=0) for path in files]
    fingerprint = digest([record.id for record in records])
    (features,) = extract([backbone], records, fingerprint, clip=clip, decoder=decoder, dtype=dtype, runtime=runtime)
    if features.failed and (runtime.strict or not features.ids):
        first, reason = next(iter(features.failed.items()))
        raise UserError(
            f"{len(features.failed)} of {len(records)} videos failed, the first: {failure_line(first, reason)}"
        )
    if features.damaged and runtime.strict:
        raise UserError(damage_line(features.damaged, len(records), "these videos"))
    provenance = {
        "backbone": f"{backbone.family}:{backbone.variant}",
        "weights": backbone.weights.name,
        "weights_sha256": backbone.weights.sha256,
        "tensors_sha256": tensors_sha256(backbone),
        "clip": canonical(clip),
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
) -> SearchResult:
    """The videos of a folder nearest to one by cosine; that one is left out if it lies there.

    Args:
        query: A video.
        folder: Searched with its subfolders.
        k: Videos to give.
        backbone: Embeds them, with its own clip.
        decoder: Of `video.reader.DECODERS`.
        dtype: Precision of the forward pass.
        runtime: Where and how fast.

    Raises:
        UserError: The query cannot be read, the folder holds no readable video, or fewer than `k`.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    if _is_folder(query):
        raise UserError(f"the query {query} is a folder; give one video")
    unique: dict[str, Path] = {}  # a file under several names is one hit, the first by name
    for path in video_files([folder]):
        unique.setdefault(os.path.realpath(path), path)
    gallery = _embed(unique.values(), backbone, decoder, dtype, runtime).features
    queries = embed_files([query], backbone, decoder=decoder, dtype=dtype, runtime=runtime).features
    resolved = [str(Path(item).resolve()) for item in gallery.ids]
    neighbors = nearest(
        EmbeddingSet(ids=[str(query.resolve())], values=queries.values),
        EmbeddingSet(ids=resolved, values=gallery.values),
        k,
        device=runtime.device,
    )
    pairs = zip(neighbors.indices[0], neighbors.similarities[0], strict=True)
    hits = tuple(Hit(path=gallery.ids[index], similarity=float(value)) for index, value in pairs if index >= 0)
    return SearchResult(hits=hits, searched=len(gallery.ids), failed=dict(gallery.failed), damaged=gallery.damaged)


def write_features(embedded: EmbeddedFiles, path: Path) -> None:
    """Write features by the suffix of `path`: Parquet (id, embedding), NumPy (ids, values) or CSV (id, f0, f1, ...).

    Parquet carries the provenance in its metadata, npz as a JSON string; CSV cannot.

    Raises:
        UserError: Another suffix.
        ResultError: The file cannot be written.
    """
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
    else:
        columns = {"id": features.ids, "embedding": list(features.values)}
        write_atomically(path, as_parquet(columns, {"tvts_bench": provenance}))


def require_known_suffix(path: Path) -> None:
    """Refuse a file that features cannot be written to: also called before they are computed.

    Raises:
        UserError: The suffix is none of `SUFFIXES`, or there is a folder of that name.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"cannot write features to {path}: the suffix must be one of {', '.join(SUFFIXES)}")
    if path.is_dir():
        raise UserError(f"cannot write features to {path}: it is a folder; give the name of a file in it")


def _is_folder(path: Path) -> bool:
    """Whether to look into `path`; a folder named like a video is for the decoder to refuse."""
    return path.is_dir() and not is_video_name(path.name)
