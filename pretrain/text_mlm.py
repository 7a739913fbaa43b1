"""A start for a small text encoder: masked-language modelling of the transcripts that it will read.

It stands in for DistilBERT's pretraining where the encoder is built here. Without it, a randomly initialised encoder
passes hardly any of the words through the stop-gradient of L_sort. (Devlin et al. 2019: 15 % of the tokens are to be
predicted, 80 % of them hidden, 10 % replaced, 10 % left.)
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain.config import RunConfig
from pretrain.data.sources import Source
from pretrain.model.text import SPECIAL, TextTokenizer
from tvts_bench.runtime import Progress, silent
from tvts_bench.training.optim import LearningRate, build_optimizer
from tvts_bench.training.recipe import OptimConfig

PREDICTED = 0.15
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
    """Train a small text encoder in place; the global random state is left as it was.

    Args:
        text_model: a DistilBERT.
        tokenizer: one built here.
        sources: of the run.
        config: of the run; `init` says how.
        steps: how many.
        device: of the training.
        progress: shows it.

    Returns:
        The mean loss of the last ten steps, in nats.
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
                shown, chosen = hide_words(ids[rows], mask[rows], len(tokenizer), generator)
                optimizer.zero_grad(set_to_none=True)
                loss = guess(*(part.to(device) for part in (shown, mask[rows], ids[rows], chosen)))
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
                advance(1)
    return float(torch.stack(losses[-10:]).mean())


class MaskedWords(nn.Module):
    """Predicts hidden words at their places and, from [CLS], which words the segment has, in any order.

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

    def forward(self, shown: Tensor, mask: Tensor, ids: Tensor, chosen: Tensor) -> Tensor:
        """The loss, a scalar: of the chosen words, and of all words from [CLS].

        Args:
            shown: int64 [B, L], ids with some words hidden or replaced.
            mask: int64 [B, L], 1 on tokens and 0 on padding.
            ids: int64 [B, L], the true ones.
            chosen: bool [B, L], what is to be predicted.
        """
        hidden = self.text_model(input_ids=shown, attention_mask=mask).last_hidden_state  # [B, L, D]
        masked = hidden[chosen]  # in a batch of few words it may be none, and a mean over nothing is NaN
        token = F.cross_entropy(self.from_token(masked), ids[chosen]) if len(masked) else masked.sum()
        is_word = (mask > 0) & (ids >= _NOT_WORDS)
        segment = is_word.nonzero(as_tuple=True)[0]
        words = self.from_cls(hidden[:, 0]).log_softmax(dim=-1)  # [B, V]
        whole: Tensor = -words[segment, ids[is_word]].mean()
        return token + whole


def hide_words(ids: Tensor, mask: Tensor, words: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Hide or replace some words.

    Args:
        ids: int64 [B, L].
        mask: int64 [B, L], 1 on tokens and 0 on padding.
        words: of the vocabulary.
        generator: on the CPU.

    Returns:
        The ids that are shown, int64 [B, L], and which words are to be predicted, bool [B, L].
    """
    draw = torch.rand(ids.shape, generator=generator)
    chosen = (draw < PREDICTED) & (mask > 0) & (ids >= _NOT_WORDS)
    how = torch.rand(ids.shape, generator=generator)
    random = torch.randint(_NOT_WORDS, words, ids.shape, generator=generator)
    shown = torch.where(chosen & (how < HIDDEN), _MASK, ids)
    return torch.where(chosen & (how >= HIDDEN) & (how < HIDDEN + REPLACED), random, shown), chosen


def segment_texts(sources: list[Source], rng: np.random.Generator, count: int) -> Iterator[str]:
    """Transcript segments as training shows them, from random samples of all sources in turn.

    Args:
        sources: of the run.
        rng: draws them.
        count: how many.
    """
    per_source = [_texts_of(source, rng.spawn(1)[0]) for source in sources]
    return itertools.islice(itertools.chain.from_iterable(zip(*per_source, strict=False)), count)


def _texts_of(source: Source, rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield from source.texts(int(rng.integers(len(source))), rng)
