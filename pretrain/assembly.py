"""From a configuration to what a run is made of: sources, tokenizer, loader, model with its start."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path

from pretrain.config import RunConfig
from pretrain.data.build import build_source
from pretrain.data.layouts import words_of
from pretrain.data.loading import LoaderConfig, NarratedLoader
from pretrain.data.sample_cache import KeptBatches, kept_folder
from pretrain.data.sources import Source
from pretrain.model.init import load_mae, redraw
from pretrain.model.text import TextTokenizer
from pretrain.model.tvts import TVTS
from pretrain.start import ENCODERS, ensure_start, load_encoders
from tvts_bench.datasets.scripted_motion.phrases import vocabulary
from tvts_bench.distributed import Rank
from tvts_bench.errors import UserError
from tvts_bench.models.checkpoint import load_strictly, read_checkpoint, without_prefixes
from tvts_bench.runtime import Progress, default_cache, silent

TOKENIZER = "tokenizer.json"
VOCABULARY_FROM = 5_000
"""Transcripts, the first of every source, that a vocabulary of its own is built from."""

logger = logging.getLogger(__name__)


def check_start(config: RunConfig) -> None:
    """Whether the weights that a new run starts from can be had: checked before hours are spent on reading its sources.

    Raises:
        UserError: they cannot; the message says where they come from and by which key they are given.
    """
    init = config.init
    if init.mae is not None:
        _require(init.mae, "init.mae", "mae_pretrain_vit_base.pth from https://github.com/facebookresearch/mae")
    if init.checkpoint is not None:
        what = "a run's checkpoints/last.pt, its export, or the official TVTS_yt_pt.pth"
        _require(init.checkpoint, "init.checkpoint", what)
    if config.text.name is not None:
        TextTokenizer.pretrained(config.text.name, config.text.max_tokens)


def build_sources(
    config: RunConfig, cache: Path | None, progress: Progress = silent, *, workers: int = 0
) -> list[Source]:
    """Every source, checked; the built-in synthetic set's files are made where they are missing.

    Args:
        config: of the run.
        cache: as of `build_source`.
        progress: shows the check.
        workers: checking processes; 0 checks in this one.

    Raises:
        UserError: a folder, list or file that is missing or malformed; see `build_source`.
    """
    return [
        build_source(source, config.segments, config.data.crop, cache=cache, workers=workers, progress=progress)
        for source in config.data.sources
    ]


def build_tokenizer(config: RunConfig, sources: list[Source]) -> TextTokenizer:
    """The tokenizer of the pretrained text encoder, or one of the words of the sources.

    Raises:
        UserError: it cannot be had.
    """
    if config.text.name is not None:
        return TextTokenizer.pretrained(config.text.name, config.text.max_tokens)
    texts = itertools.chain.from_iterable(map(transcripts, sources))
    return TextTokenizer.from_corpus(texts, config.text.max_tokens)


def transcripts(source: Source, count: int = VOCABULARY_FROM) -> Iterator[str]:
    """The text of the first `count` entries of a source, one string each; of drawn stories, every word of theirs."""
    if source.world is not None:
        yield " ".join(vocabulary())  # the same whatever they tell: encoders can go from one kind to the other
        return
    for number in range(min(count, len(source))):
        entry = source.index[number]
        if entry.transcript is None:
            yield entry.caption
        else:
            yield " ".join(word.text for word in words_of(entry.transcript, entry.duration))


def build_loader(
    config: RunConfig,
    sources: list[Source],
    tokenizer: TextTokenizer,
    rank: Rank,
    workers: int,
    samples: Path | None = None,
) -> NarratedLoader:
    """This rank's batches.

    Args:
        config: of the run.
        sources: of the run.
        tokenizer: of the run.
        rank: this one.
        workers: loading processes; 0 loads in this one.
        samples: folder in which drawn batches are kept for other runs; None: they are not.

    Raises:
        UserError: sources and batch sizes that do not go together, or what is to be kept is not drawn.
    """
    data = config.data
    loader = NarratedLoader(
        sources,
        LoaderConfig(batch_size=data.batch_size, seed=config.seed, max_failures=data.max_failures, strict=data.strict),
        tokenizer,
        workers=workers,
        rank=rank.rank,
        world_size=rank.world_size,
    )
    if samples is not None:
        folder = kept_folder(samples, sources, loader.mixture, (rank.rank, rank.world_size), tokenizer.rules)
        loader.items = KeptBatches(loader.items, folder)
    return loader


def total_steps(config: RunConfig, loader: NarratedLoader) -> int:
    """Length of the run: as given, or until the first source was gone through `epochs` times."""
    if config.steps is not None:
        return config.steps
    assert config.epochs is not None
    mixture = loader.mixture
    turns = config.epochs * mixture.batches_per_epoch(0)
    return max(round(turns * len(mixture.cycle) / mixture.cycle.count(0)), 1)


def build_model(config: RunConfig, tokenizer: TextTokenizer, *, fresh: bool = True, cache: Path | None = None) -> TVTS:
    """The model with its start: drawn from the seed, MAE's images, a common start, or all of an earlier run.

    Args:
        config: of the run.
        tokenizer: of the run.
        fresh: whether it will be trained from its start; else `init` is left alone, since a state replaces it all.
        cache: where common starts lie, or are made; the user's if None.

    Raises:
        UserError: weights that are missing or do not fit; the message says where they come from.
    """
    model = TVTS.seeded(config.network, tokenizer, config.seed)
    if not fresh:
        return model
    if config.init.video == "mae":
        redraw(model.video_model, config.seed)
    if config.init.mae is not None:
        load_mae(model.video_model, config.init.mae)
    path = config.init.checkpoint
    if config.init.start is not None:
        path = ensure_start(cache or default_cache(), config.init.start)
    if path is not None:
        checkpoint = read_checkpoint(path)
        for note in checkpoint.notes:
            logger.warning("%s", note)
        tensors = without_prefixes(checkpoint.tensors)
        if not any(name.startswith("video_model.") for name in tensors):  # an encoder alone, as exports are
            load_strictly(model.video_model, tensors, path)
        elif config.init.text_steps:
            raise UserError(
                f"init.text_steps={config.init.text_steps} would train anew the text encoder that {path} brings along; "
                "set init.text_steps=0"
            )
        elif all(name.startswith(ENCODERS) for name in tensors):
            load_encoders(model, tensors, checkpoint, tokenizer)
        else:
            load_strictly(model, tensors, path)
    return model


def _require(path: Path, key: str, what: str) -> None:
    if not path.is_file():
        raise UserError(f"there is no file {path}: give {key}=FILE, {what}; or {key}=null to start without it")
