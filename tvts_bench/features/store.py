"""Shards of features on disk, found by the content they depend on. Nothing half written is ever read.

A store is a folder named by the digest of its `FeatureKey`, with `key.json` to read what it holds and one safetensors
file for every `SHARD_RECORDS` records. The partition depends on the records alone, and a shard's name holds a digest of
its records' ids and file signatures: a video that changes, arrives or is replaced makes just its shard a new one, and
two copies of a data set with different files do not mix. A copy with the same content takes over what was computed.
"""

import errno
import hashlib
import json
import logging
import os
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from tvts_bench import provenance
from tvts_bench.atomic import SUFFIX, whole_file
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.errors import UserError
from tvts_bench.features.base import Failure, FeatureKey
from tvts_bench.snapshot import FileSignature, content_sha256

SHARD_RECORDS = 64  # at most so many clips are lost with a killed run; part of the layout, so `FeatureKey.version`

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """Which records a shard holds, and the files they are read from."""

    number: int  # of the shard in its split, from 0
    records: tuple[VideoRecord, ...]
    signatures: tuple[FileSignature | None, ...]  # of the records' files before they are read

    @cached_property
    def files(self) -> list[list[Any]]:
        """[id, signature] of every record as plain JSON types, which is what the shard itself says it is of."""
        pairs = zip(self.records, self.signatures, strict=True)
        return [[record.id, None if each is None else list(each)] for record, each in pairs]

    @cached_property
    def name(self) -> str:
        """The name of its file."""
        return f"{self.number:05d}-{provenance.digest(self.files)[:16]}.safetensors"


@dataclass(frozen=True, kw_only=True, eq=False)
class Shard:
    """The features of the readable clips among a plan's records, and why the others have none."""

    ids: tuple[str, ...]  # of the readable clips, in record order
    values: NDArray[np.float32]  # [n, D]
    failures: Mapping[str, Failure]  # by id, in record order
    decoders: Mapping[str, int]  # decoder -> clips it read
    computed_by: str  # device, batch size and versions
    contents: Mapping[str, str]  # id -> sha256 (hex) of each file whose content was read
    damaged: tuple[str, ...] = ()  # of `ids`, those read from files of which a part had to be made up

    @property
    def settled(self) -> bool:
        """Whether trying again later would give the same failures."""
        return not any(failure.retry for failure in self.failures.values())


def plan_shards(records: Sequence[VideoRecord], signatures: Mapping[str, FileSignature | None]) -> list[ShardPlan]:
    """Cut `records`, with the signature of each one's file by its id, into shards."""
    plans = []
    for number, start in enumerate(range(0, len(records), SHARD_RECORDS)):
        part = tuple(records[start : start + SHARD_RECORDS])
        plans.append(ShardPlan(number=number, records=part, signatures=tuple(signatures[record.id] for record in part)))
    return plans


class FeatureStore:
    """The shards of one `FeatureKey` in `parent`; every feature is a vector of `embed_dim` numbers."""

    def __init__(self, parent: Path, key: FeatureKey, embed_dim: int) -> None:
        self.key, self.embed_dim = key, embed_dim
        self.digest = provenance.digest(key)
        self.folder = parent / self.digest[:32]
        self._damaged: set[Path] = set()  # named already

    def prepare(self) -> None:
        """Make the folder, and remove what killed runs left half written. Only under the store's lock.

        Raises:
            UserError: No permission, no space.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            for leftover in self.folder.glob(f"*{SUFFIX}"):
                leftover.unlink()
            if not (self.folder / "key.json").exists():
                self._name_older_stores()
            text = json.dumps(provenance.canonical(self.key), indent=2, sort_keys=True)
            self._write("key.json", f"{text}\n".encode())

    def read(self, plan: ShardPlan) -> Shard | None:
        """The plan's shard, or None if it is not there or damaged (a warning is logged).

        A shard that is whole, but of another store or another plan than its name says, is damaged, too.
        """
        path = self.folder / plan.name
        try:
            files, shard = self._load(path)
            if files != plan.files:
                raise ShardFileError("it is of other clips or files than its name says")
        except FileNotFoundError:
            return None
        except (ShardFileError, OSError) as error:
            if path not in self._damaged:
                log.warning("%s is damaged (%s); its clips are computed again", path, error)
                self._damaged.add(path)
            return None
        return shard

    def write(self, plan: ShardPlan, shard: Shard) -> None:
        """Keep a shard: on disk, whole, once this returns.

        Raises:
            UserError: No permission, no space.
        """
        failures = {name: {"reason": each.reason, "retry": each.retry} for name, each in shard.failures.items()}
        description = {"key": self.digest, "files": plan.files, **vars(shard), "failures": failures}
        values = description.pop("values")
        with writing(self.folder):
            self._write(plan.name, pack(description, values))

    def adopt(self, plans: Sequence[ShardPlan]) -> dict[str, Shard]:
        """Shards of those of `plans`, by name, that are of the same clips and contents as one that is there.

        They are written under their new names.

        So a data set that was copied, or whose owner or mode changed, is read once instead of computed again. Only
        files whose signatures differ are read, and only under the store's lock.

        Raises:
            UserError: No permission, no space.
        """
        adopted: dict[str, Shard] = {}
        others: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(self.folder.glob("*.safetensors")):
            others[path.name.partition("-")[0]].append(path)
        for plan in plans:
            for path in others[f"{plan.number:05d}"]:
                try:
                    files, shard = self._load(path)
                    same = shard.settled and _same_content(files, shard.contents, plan)
                except (ShardFileError, OSError):
                    continue  # whoever reads the shard by its name warns of it; of a video, whoever decodes it
                if same:
                    log.info("%s holds the features of the same content: taken over", path)
                    self.write(plan, shard)
                    adopted[plan.name] = shard
                    break
        return adopted

    def _load(self, path: Path) -> tuple[list[list[Any]], Shard]:
        """What the file says it is of (`ShardPlan.files`), and the shard.

        Raises:
            ShardFileError: It is damaged, or of another store.
            OSError: It cannot be read.
        """
        description, values = unpack(path)
        try:
            if description.pop("key") != self.digest:
                raise ShardFileError("it is of another store")
            files = [[name, signature] for name, signature in description.pop("files")]
            failures = {name: Failure(**failure) for name, failure in description.pop("failures").items()}
            ids, damaged = tuple(description.pop("ids")), tuple(description.pop("damaged"))
            shard = Shard(ids=ids, values=values, failures=failures, damaged=damaged, **description)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ShardFileError(f"its metadata is not a shard's: {error}") from error
        if values.shape != (len(shard.ids), self.embed_dim) or values.dtype != np.float32:
            raise ShardFileError(
                f"it holds {len(shard.ids)} ids and {values.dtype} values of shape {list(values.shape)},"
                f" and the backbone gives vectors of {self.embed_dim}"
            )
        if sorted([*shard.ids, *shard.failures]) != sorted(name for name, _ in files):
            raise ShardFileError("its features and failures are not of its clips")
        return files, shard

    def _name_older_stores(self) -> None:
        """Say once, as this store is made, which ones held the same features in an older layout."""
        ours = provenance.canonical(self.key)
        for path in sorted(self.folder.parent.glob("*/key.json")):
            try:
                theirs = json.loads(path.read_text())
                older = int(theirs.pop("version")) < self.key.version
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
            if older and all(theirs.get(name) == ours[name] for name in ("backbone", "tensors", "records", "dtype")):
                log.warning("%s holds features of an older layout, which are left alone: delete it", path.parent)

    def _write(self, name: str, content: bytes) -> None:
        with whole_file(self.folder / name) as file:
            file.write(content)


def _same_content(files: Sequence[Sequence[Any]], contents: Mapping[str, str], plan: ShardPlan) -> bool:
    """Whether the plan's clips are those of `files` (`ShardPlan.files`) in order, and their files hold `contents`."""
    if [name for name, _ in files] != [record.id for record in plan.records]:
        return False
    return all(
        now == then or (now is not None and name in contents and content_sha256(record.path) == contents[name])
        for (name, then), (_, now), record in zip(files, plan.files, plan.records, strict=True)
    )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Whatever the operating system refuses while `folder` is written becomes one clear sentence.

    Raises:
        UserError: No space, no permission, or another reason of the operating system.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise UserError(
                f"the disk is full ({error.strerror}) while writing features to {folder}: what was finished is kept, "
                "so free some space and run again, or choose another disk with --cache DIR"
            ) from error
        why = "no permission to write" if error.errno in NO_PERMISSION else "cannot write"
        raise UserError(
            f"{why} features to {folder} ({error.strerror or error}): choose another place with --cache DIR"
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. The operating system releases it when this process ends, however it ends.

    Raises:
        UserError: Another run holds it, or the folder cannot be written.
    """
    lock, owner = FileLock(folder / "lock", timeout=0), folder / "owner.json"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:  # an OSError, so it must not get as far as `writing`
            raise UserError(
                f"another run{_owner(owner)} is writing the feature store {folder}: "
                "wait until it has ended, or use another store with --cache DIR"
            ) from error
    try:
        with writing(folder):
            owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        with suppress(OSError):
            owner.unlink()
        lock.release()


def _owner(path: Path) -> str:
    """Who wrote the file, as words to put after a noun; empty where that is unknown."""
    try:
        owner = json.loads(path.read_text())
        return f" (process {owner['pid']} on {owner['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


class ShardFileError(Exception):
    """A file that is not a whole shard, or not the one it is taken for."""


def pack(description: Mapping[str, Any], values: NDArray[np.float32]) -> bytes:
    """The content of the file of a shard."""
    text = json.dumps(description)
    return save({"values": values}, metadata={"shard": text, "sha256": _checksum(text, values)})


def unpack(path: Path) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """Description and values of the shard in a file.

    Raises:
        ShardFileError: A byte of it is not as it was written.
        OSError: It cannot be read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata, values = file.metadata(), file.get_tensor("values")
        description = json.loads(metadata["shard"])
        checksum = metadata["sha256"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ShardFileError(str(error)) from error
    if checksum != _checksum(metadata["shard"], values):
        raise ShardFileError("its checksum does not match")
    return description, values


def _checksum(text: str, values: NDArray[np.float32]) -> str:
    return hashlib.sha256(text.encode() + values.tobytes()).hexdigest()
