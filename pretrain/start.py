"""A common start: encoders that runs begin with, as the paper's begin with MAE's ImageNet weights and DistilBERT.

It is a short run of its own (preset `scripted_motion_start`), of which the two encoders are kept in one small file;
projections and sorter are drawn anew in every run that begins with it. `init.start=SEED` makes it on first use, and
`init.checkpoint=FILE` takes one that lies anywhere.
"""

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from filelock import FileLock
from safetensors.torch import save
from torch import Tensor

from pretrain.config import LaunchConfig, compose
from pretrain.model.text import TextTokenizer
from pretrain.model.tvts import TVTS
from tvts_bench import provenance
from tvts_bench.atomic import whole_file
from tvts_bench.datasets.scripted_motion.world import DEFAULT as WORLD
from tvts_bench.errors import UserError
from tvts_bench.models.checkpoint import Checkpoint, load_strictly
from tvts_bench.runtime import Progress, silent
from tvts_bench.training.checkpoint import LAST
from tvts_bench.version import VERSION

PRESET = "scripted_motion_start"
FOLDER = "starts"  # in the cache
ENCODERS = ("video_model.", "text_model.")
_RANKS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_FACTS, _VOCABULARY, _WORLD = "start", "vocabulary_sha256", "world"  # in a file's metadata

logger = logging.getLogger(__name__)


def start_file(cache: Path, seed: int) -> Path:
    """Where the start of that seed lies in `cache`, made or not: named by all that decides its weights."""
    config, _ = compose(PRESET, [f"seed={seed}"])
    versions = [VERSION, *(metadata.version(name) for name in ("numpy", "torch", "timm", "transformers"))]
    return cache / FOLDER / f"{seed}-{provenance.digest([config, WORLD.digest, versions])[:16]}.safetensors"


def make_start(cache: Path, seed: int, progress: Progress = silent) -> Path:
    """The start of that seed, from the cache if it is there.

    Args:
        cache: where starts lie.
        seed: of the start.
        progress: shows it being made.

    Raises:
        UserError: it cannot be trained or written.
    """
    from pretrain.run_folder import checkpoint_folder, load_state  # these assemble runs that begin with a start
    from pretrain.runs import begin

    path = start_file(cache, seed)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if path.is_file():
                return path
            folder = path.with_suffix("")
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
            config, _ = compose(PRESET, [f"seed={seed}"])
            begin(config, LaunchConfig(out=folder, device="cpu", workers=0, threads=1, cache=cache), progress)
            tokenizer = TextTokenizer.load(folder / "tokenizer.json", config.text.max_tokens)
            write_start(path, load_state(checkpoint_folder(folder) / LAST).model, tokenizer, seed)
            shutil.rmtree(folder, ignore_errors=True)
            return path
    except OSError as error:
        raise UserError(f"cannot make the start of seed {seed} in {path.parent}: {error.strerror or error}") from error


def ensure_start(cache: Path, seed: int) -> Path:
    """As `make_start`, but made in a process of its own, which knows nothing of the ranks of this one.

    Raises:
        UserError: it cannot be made; the sentence is its own.
    """
    path = start_file(cache, seed)
    if not path.is_file():
        logger.warning("making the common start of seed %d in %s: under a minute on one free core, once", seed, path)
        command = [sys.executable, "-m", "pretrain", "start", "--seed", str(seed), "--cache", str(cache)]
        environment = {name: value for name, value in os.environ.items() if name not in _RANKS}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if ended.returncode or not path.is_file():
            last = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
            raise UserError(f"the common start of seed {seed} cannot be made: {last[0].removeprefix('error: ')}")
    return path


def write_start(path: Path, model: Mapping[str, Tensor], tokenizer: TextTokenizer, seed: int) -> None:
    """Keep encoders, and what they can go with.

    Args:
        path: the file.
        model: a TVTS state dict.
        tokenizer: of the run that trained it.
        seed: of the start.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in model.items() if name.startswith(ENCODERS)}
    facts = {_VOCABULARY: _sha(tokenizer), _WORLD: WORLD.digest, "seed": seed}
    with whole_file(path) as file:  # one value: several come in another order in every process, and cells go by content
        file.write(save(tensors, {_FACTS: json.dumps(facts)}))


def copy_start(path: Path, out: Path) -> Path:
    """Write the start to `out` as well.

    Raises:
        UserError: it cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(out) as file:
            file.write(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from error
    return out


def load_encoders(model: TVTS, tensors: Mapping[str, Tensor], checkpoint: Checkpoint, tokenizer: TextTokenizer) -> None:
    """Fill both encoders from a start.

    Args:
        model: to be filled.
        tensors: by the model's own names.
        checkpoint: that they are of.
        tokenizer: of the run.

    Raises:
        UserError: it was made in another world, or with another vocabulary.
        CheckpointError: its encoders are of another size.
    """
    try:
        facts = json.loads(str(checkpoint.metadata[_FACTS]))
        made_in, vocabulary = facts[_WORLD], facts[_VOCABULARY]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{checkpoint.path} holds encoders and does not say of which world: it is no start") from None
    if made_in != WORLD.digest or vocabulary != _sha(tokenizer):
        what = "world" if made_in != WORLD.digest else "vocabulary"
        raise UserError(
            f"{checkpoint.path} is a start from another {what} than this run's: make one with `tvts-pretrain start`"
        )
    for prefix in ENCODERS:
        part = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        load_strictly(getattr(model, prefix.rstrip(".")), part, checkpoint.path)


def _sha(tokenizer: TextTokenizer) -> str:
    return hashlib.sha256(tokenizer.rules.encode()).hexdigest()
