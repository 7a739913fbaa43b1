"""Weights on the Hugging Face Hub as local files: `hf://OWNER/NAME[@REVISION][/FILE]` and `timm/NAME`.

What was downloaded once is in the Hub's own cache, and is found there without a network.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tvts_bench.models.checkpoint import (
    FOLDER_CONFIG,
    FOLDER_WEIGHTS,
    INDEX,
    INPUT_FILES,
    Checkpoint,
    CheckpointError,
    indexed,
    listed,
    read_checkpoint,
)

SCHEME = "hf://"
DESCRIPTIONS = (FOLDER_CONFIG, *INPUT_FILES)
REFERENCE = re.compile(r"hf:/{1,2}(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<file>.+?))?/?")
TIMM = re.compile(r"timm/[\w.-]+")


class HubUnreachableError(CheckpointError):
    """There is no network, and the file is not in the cache."""


class LocalCheckpoint(NamedTuple):
    """Where a checkpoint is on this machine."""

    path: Path  # a file, or a folder of weights and config.json
    origin: str | None = None  # "hf://OWNER/NAME@COMMIT/FILE" of what came from the Hub


def local_checkpoint(reference: str | os.PathLike[str]) -> LocalCheckpoint:
    """The local file or folder that `reference` means; one that exists comes before a repository of that name.

    Raises:
        CheckpointError: it is on the Hub and cannot be had; the message says what to do.
    """
    text, path = os.fspath(reference), Path(reference)
    if text.startswith("hf:"):
        match = REFERENCE.fullmatch(text)
        if match is None:
            raise CheckpointError(f"{text} is not of the form {SCHEME}OWNER/NAME[@REVISION][/FILE]")
        return _fetched(match["repo"], match["revision"], match["file"])
    if TIMM.fullmatch(text) and not path.exists():
        return _fetched(text, None, None)
    return LocalCheckpoint(path)


def read_anywhere(reference: str | os.PathLike[str], weights: str | None = None) -> Checkpoint:
    """What a local file or folder, or one on the Hub, holds.

    Args:
        reference: as `local_checkpoint` takes it.
        weights: which of a training checkpoint's, as `read_checkpoint` takes it.

    Raises:
        CheckpointError: it cannot be had, or cannot be read safely.
    """
    location = local_checkpoint(reference)
    checkpoint = read_checkpoint(location.path, weights)
    return checkpoint if location.origin is None else replace(checkpoint, origin=location.origin)


def _fetched(repo: str, revision: str | None, file: str | None) -> LocalCheckpoint:
    """The file, or without one the repository's weights with its config.json, from the cache or the Hub."""
    unreachable: HubUnreachableError | None = None
    for name in (file,) if file is not None else FOLDER_WEIGHTS:
        try:
            path = _downloaded(repo, revision, name, cached_only=unreachable is not None)
        except HubUnreachableError as error:
            unreachable = unreachable or error  # the others may still be in the cache
            continue
        if path is None:
            continue
        folder = path.parents[len(PurePosixPath(name).parts) - 1]
        origin = f"{SCHEME}{repo}@{folder.name}/{name}"  # the cache names the folder after the commit
        if file is not None:
            return LocalCheckpoint(path, origin)
        if name == INDEX:
            _bring_shards(repo, path)
        _bring_what_is_there(repo, folder.name, [each for each in DESCRIPTIONS if not (folder / each).exists()])
        return LocalCheckpoint(folder, origin)
    if unreachable is not None:
        raise unreachable
    wanted = f"file {file}" if file is not None else " or ".join(FOLDER_WEIGHTS)
    raise CheckpointError(
        f"{_named(repo, revision)} has no {wanted}; {_files_of(repo, revision)}: name its weights, {SCHEME}{repo}/FILE"
    )


def _bring_shards(repo: str, index: Path) -> None:
    """Bring the files that the index names beside it.

    Raises:
        CheckpointError: one of them cannot be had.
    """
    commit = index.parent.name
    for name in indexed(index):
        if _downloaded(repo, commit, name) is None:
            raise CheckpointError(
                f"{_named(repo, commit)} has no {name}, which its {INDEX} names: ask its authors for it"
            )


def _bring_what_is_there(repo: str, commit: str, names: Iterable[str]) -> None:
    """Bring these files into the folder of that commit; without one, or a network, the weights stand alone."""
    for name in names:
        try:
            _downloaded(repo, commit, name)
        except HubUnreachableError:
            return


def _downloaded(repo: str, revision: str | None, file: str, *, cached_only: bool = False) -> Path | None:
    """The file in the Hub's cache, downloaded unless it is there; None where the repository has no such file."""
    from huggingface_hub import errors, hf_hub_download

    named, log_in = _named(repo, revision), "log in with `hf auth login` or set HF_TOKEN"
    try:
        return Path(hf_hub_download(repo, file, revision=revision, local_files_only=cached_only))
    except errors.LocalEntryNotFoundError as error:
        raise HubUnreachableError(
            f"{named} cannot be reached and its {file} is not in the cache: run this where there is a network, or"
            f" download it elsewhere (hf download {repo}) and name the local file or folder"
        ) from error
    except errors.EntryNotFoundError:
        return None
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{named} is gated: accept its terms at https://huggingface.co/{repo}, then {log_in}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"there is no {named} on the Hub, or it is private: check the name; for a private one {log_in}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(
            f"{SCHEME}{repo} has no revision {revision}: leave out @{revision} for its main one"
        ) from error
    except Exception as error:  # whatever the network library of the day raises
        raise CheckpointError(f"{named} cannot be downloaded ({type(error).__name__})") from error


def _named(repo: str, revision: str | None) -> str:
    return f"{SCHEME}{repo}" + (f"@{revision}" if revision is not None else "")


def _files_of(repo: str, revision: str | None) -> str:
    """What the repository has instead, for a message."""
    from huggingface_hub import list_repo_files

    try:
        return f"it has {listed(list_repo_files(repo, revision=revision))}"
    except Exception:  # noqa: BLE001 - this is about another error already
        return "its files cannot be listed"
