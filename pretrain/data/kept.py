"""Drawn batches kept on disk for other runs that read the same ones, as the cells of a grid with one seed do.

For the drawn world alone, whose samples depend on nothing but their seeds: of files that are read, nobody could tell
whether they are still the same.
"""

import json
from collections import Counter
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch.utils.data import Dataset

from pretrain.data.batches import NarratedBatch
from pretrain.data.drawn import DrawnSource
from pretrain.data.loading import Made
from pretrain.data.mixing import Mixture
from pretrain.data.sources import Source
from pretrain.schema import ConfigError
from tvts_bench import provenance
from tvts_bench.atomic import remove_leftovers, whole_file
from tvts_bench.errors import UserError
from tvts_bench.version import VERSION

TENSORS = ("clips", "input_ids", "attention_mask", "segments", "seeds")  # of a batch


class KeptBatches(Dataset[Made]):
    """`made`, each item written to `folder` when it is first asked for, and read from there afterwards.

    Raises:
        UserError: nothing can be written there; told before anything is drawn where the folder cannot be made.
    """

    def __init__(self, made: Dataset[Made], folder: Path) -> None:
        self._made, self._folder = made, folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(folder, error) from None
        remove_leftovers(folder)

    def __getitem__(self, step: int) -> Made:
        path = self._folder / f"{step:07d}.safetensors"
        kept = _read(path)
        if kept is None:
            kept = self._made[step]
            if not kept.failures:  # they would be counted this time alone
                _write(path, kept)
        return kept


def kept_folder(
    samples: Path, sources: Sequence[Source], mixture: Mixture, place: tuple[int, int], tokenizer: str
) -> Path:
    """The folder in `samples` of all batches that are made of the same.

    Args:
        samples: where the batches of all kinds of run lie.
        sources: what is drawn from.
        mixture: how, and from which seed.
        place: rank and number of ranks.
        tokenizer: all that it does, as text.

    Raises:
        ConfigError: a source is not drawn.
    """
    worlds = []
    for source in sources:
        if not isinstance(source, DrawnSource):
            raise ConfigError(
                f"samples={samples} keeps what is drawn, and {source.config.kind} is read from files: leave it out"
            )
        worlds.append(source.index.world.digest)
    parts = [[source.config, source.segments, source.crop] for source in sources]
    versions = [VERSION, *(metadata.version(name) for name in ("numpy", "torch", "torchvision"))]
    made_of = [parts, mixture.seed, mixture.shares, list(place), tokenizer, worlds, versions]
    return samples / provenance.digest(made_of)[:16]


def _read(path: Path) -> Made | None:
    """What `_write` wrote; None where there is nothing, or nothing whole."""
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata()
            tensors = {name: file.get_tensor(name) for name in TENSORS}
        batch = NarratedBatch(**tensors, ids=tuple(json.loads(said["ids"])))
        return Made(batch=batch, events=Counter(json.loads(said["events"])))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, AssertionError):
        return None


def _write(path: Path, made: Made) -> None:
    tensors = {name: getattr(made.batch, name).contiguous() for name in TENSORS}
    said = {"ids": json.dumps(made.batch.ids), "events": json.dumps(made.events)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(save(tensors, said))
    except OSError as error:
        raise _unwritable(path.parent, error) from None


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"cannot keep samples in {folder} ({error}): give another samples=, or leave it out")
