"""A start for a small text encoder: masked-language modelling of the transcripts that it will read.

It stands in for DistilBERT's pretraining where the encoder is built here. Without it, a randomly initialised encoder
passes hardly any of the words through the stop-gradient of L_sort. (Devlin et al. 2019: 15 % of the tokens are to be
told, 80 % of them hidden, 10 % replaced, 10 % left.)
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.config import RunConfig
from pretrain.data.drawn import DrawnSource
from pretrain.data.narrated import words_of
from pretrain.data.segments import draw_cut
from pretrain.data.sources import Source
from pretrain.data.transcripts import text_between
from pretrain.model.text import SPECIAL, TextTokenizer
from tvts_bench.runtime import Progress, silent
from tvts_bench.training.optim import LearningRate, build_optimizer
from tvts_bench.training.recipe import OptimConfig

TOLD = 0.15
HIDDEN, REPLACED = 0.8, 0.1
TEXTS = 12_000  # that are gone through again and again
_PURPOSE = 4  # what a seed is for; see pretrain.step
_MASK, _NOT_WORDS = SPECIAL.index("[MASK]"), len(SPECIAL)  # ids below the second are no words


def pretrain_text(
    text_model: Any,
    tokenizer: TextTokenizer,
    sources: list[Source],
    config: RunConfig,
    steps: int,
    device: str,
    progress: Progress = silent,
) -> float:
    """Train `text_model` in place for `steps` steps as `config.init` says; the mean loss (nats) of the last ones.

    The tokenizer must be one built here. The global random state is left as it was.
    """
    init = config.init
    rng = np.random.default_rng([config.seed, _PURPOSE])
    ids, mask = tokenizer(list(segment_texts(sources, rng, min(TEXTS, steps * init.text_batch))))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))  # dropout, and the head
        guess = MaskedWords(text_model, len(tokenizer)).to(device).train()
        settings = OptimConfig(lr=init.text_lr, schedule="cosine", warmup=0.05)
        optimizer = build_optimizer(guess, settings)
        rate, losses = LearningRate(optimizer, settings, steps), []
        with progress(steps, "steps", "pretraining the text encoder") as advance:
            for step in range(steps):
                rate.set(step)
                rows = torch.randint(len(ids), (init.text_batch,), generator=generator)
                shown, asked = hide_words(ids[rows], mask[rows], len(tokenizer), generator)
                optimizer.zero_grad(set_to_none=True)
                loss = guess(*(part.to(device) for part in (shown, mask[rows], ids[rows], asked)))
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
                advance(1)
    return float(torch.stack(losses[-10:]).mean())


class MaskedWords(nn.Module):
    """Tells hidden words at their places and, from [CLS], which words the segment has, in any order.

    The second is not BERT's. [CLS] is what training reads of a segment, and in so few steps it would not learn to hold
    the words from hidden ones alone.
    """

    def __init__(self, text_model: Any, words: int) -> None:
        """`words` are those of the vocabulary."""
        super().__init__()
        self.text_model = text_model
        dim = int(text_model.config.dim)
        self.from_token = nn.Linear(dim, words)
        self.from_cls = nn.Linear(dim, words)

    def forward(self, shown: Tensor, mask: Tensor, ids: Tensor, asked: Tensor) -> Tensor:
        """The loss, a scalar, of the true `ids` [B, L]: at the places `asked`, and of all words from [CLS]."""
        hidden = self.text_model(input_ids=shown, attention_mask=mask).last_hidden_state  # [B, L, D]
        told = hidden[asked]  # in a batch of few words it may be none, and a mean over nothing is NaN
        token = F.cross_entropy(self.from_token(told), ids[asked]) if len(told) else told.sum()
        is_word = (mask > 0) & (ids >= _NOT_WORDS)
        segment = is_word.nonzero(as_tuple=True)[0]
        words = self.from_cls(hidden[:, 0]).log_softmax(dim=-1)  # [B, V]
        whole: Tensor = -words[segment, ids[is_word]].mean()
        return token + whole


def hide_words(ids: Tensor, mask: Tensor, words: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Ids int64 [B, L] with some words hidden or replaced, and at which places they are to be told, bool [B, L]."""
    draw = torch.rand(ids.shape, generator=generator)
    asked = (draw < TOLD) & (mask > 0) & (ids >= _NOT_WORDS)
    how = torch.rand(ids.shape, generator=generator)
    random = torch.randint(_NOT_WORDS, words, ids.shape, generator=generator)
    shown = torch.where(asked & (how < HIDDEN), _MASK, ids)
    return torch.where(asked & (how >= HIDDEN) & (how < HIDDEN + REPLACED), random, shown), asked


def segment_texts(sources: list[Source], rng: np.random.Generator, count: int) -> Iterator[str]:
    """`count` transcript segments as training shows them, from random samples of all sources in turn."""
    per_source = [_texts_of(source, rng.spawn(1)[0]) for source in sources]
    return itertools.islice(itertools.chain.from_iterable(zip(*per_source, strict=False)), count)


def _texts_of(source: Source, rng: np.random.Generator) -> Iterator[str]:
    while True:
        number = int(rng.integers(len(source)))
        if isinstance(source, DrawnSource):
            yield from source.texts(number, rng)
            continue
        entry = source.index[number]
        if entry.transcript is None:
            yield entry.caption
            continue
        words = words_of(entry.transcript, entry.duration)
        cut = draw_cut(words, entry.duration, source.segments, rng)
        yield from (text_between(words, start, start + cut.length) for start in cut.starts)
