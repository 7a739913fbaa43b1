"""What is measured on held-out data while training: sorting and alignment of narrated clips, and zero-shot retrieval.

A quick look, on a part of the data and without intervals; `tvts-bench retrieval` measures.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pretrain.config import RunConfig
from pretrain.data.build import build_source
from pretrain.data.loading import NarratedBatch, validation_batches
from pretrain.data.sources import Source
from pretrain.model.text import TextTokenizer
from pretrain.model.tvts import TVTS
from pretrain.objectives.losses import alignment, chance
from pretrain.objectives.ordering import sorting
from pretrain.step import StepSettings, forward, presentations
from tvts_bench.datasets.base import VideoRecord
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.errors import UserError
from tvts_bench.runtime import Progress, silent
from tvts_bench.training.optim import autocast
from tvts_bench.video.clips import load_clip
from tvts_bench.video.packet_index import VideoDecodeError
from tvts_bench.video.spec import IMAGENET_MEAN, IMAGENET_STD, ClipSpec
from tvts_bench.video.transforms import normalise

logger = logging.getLogger(__name__)

_BATCH = 32  # clips per forward pass; also how many transcripts each is compared with in alignment_accuracy
_REMEMBERED = 512 << 20  # bytes of decoded clips kept from one validation to the next


@dataclass
class Validation:
    """Measures a model; what it needs is loaded by `prepare`, or at the first use: short runs never wait for it."""

    config: RunConfig
    tokenizer: TextTokenizer
    settings: StepSettings
    cache: Path | None = None
    progress: Progress = silent
    _narrated: Source | None = field(default=None, init=False)
    _records: list[VideoRecord] | None = field(default=None, init=False)
    _clips: dict[str, Tensor] = field(default_factory=dict, init=False)
    _failed: int = field(default=0, init=False)  # held-out clips that could not be read at the last look

    def measure(self, model: TVTS) -> tuple[dict[str, float], dict[str, float]]:
        """Percent by name, and what a guess reaches. The model's mode is restored, no random state is touched.

        Raises:
            UserError: the held-out data cannot be had or read.
        """
        training = model.training
        model.eval()
        try:
            with torch.inference_mode():
                measured, guess = self._sorting(model)
                retrieval, by_chance = self._retrieval(model)
        finally:
            model.train(training)
        return measured | retrieval, guess | by_chance

    def prepare(self) -> None:
        """Load what is measured on, so that a mistake in it ends a run when it begins and not at its first look.

        Raises:
            UserError: the held-out data cannot be had.
        """
        wanted = self.config.validation
        if wanted.source is not None and self._narrated is None:
            self._narrated = build_source(
                wanted.source, self.config.segments, self.config.data.crop, cache=self.cache, progress=self.progress
            )
        if wanted.dataset is not None and self._records is None:
            dataset = load_dataset(wanted.dataset, wanted.root, cache=self.cache, progress=self.progress)
            records = list(dataset.records(dataset.info.default_split))
            picks = np.linspace(0, len(records) - 1, min(wanted.clips, len(records))).astype(int)
            self._records = [records[i] for i in np.unique(picks)]

    def _sorting(self, model: TVTS) -> tuple[dict[str, float], dict[str, float]]:
        """The training metrics on held-out narrated clips: centre frames, masks as in training but fixed."""
        if self.config.validation.source is None:
            return {}, {}
        self.prepare()
        assert self._narrated is not None
        count = min(self.config.validation.samples, len(self._narrated))
        size = min(_BATCH, count)
        batches = validation_batches(self._narrated, self.tokenizer, batch_size=size)
        sums: Counter[str] = Counter()
        for batch in itertools.islice(batches, count // size):  # whole ones: alignment among fewer is easier
            sums.update(self._narrated_batch(model, batch))
        means = {name: value / (count // size) for name, value in sums.items()}
        return means, chance(self.config.objective, size, model.config.items)

    def _narrated_batch(self, model: TVTS, batch: NarratedBatch) -> dict[str, float]:
        """Losses and accuracies of one batch, on this rank alone."""
        objective = self.config.objective
        output = forward(model, batch, presentations(model, batch), self.settings)
        values: dict[str, float] = {}
        if output.video is not None and output.text is not None:
            rows = output.video.float(), output.text.float()
            aligned = alignment(*rows, rows, 0, objective.temperature)
            values |= {"base": float(aligned.loss), "alignment_accuracy": float(aligned.accuracy)}
        if output.sort_logits is not None:
            result = sorting(objective.sort, output.sort_logits.float(), output.order)
            values["sort"] = float(result.loss.mean())
            values |= {name: float(rows.mean()) for name, rows in result.accuracies.items()}
        return values

    def _retrieval(self, model: TVTS) -> tuple[dict[str, float], dict[str, float]]:
        """Leave-one-out Recall@1 of [CLS] by cosine, over some clips of a labelled split."""
        wanted = self.config.validation
        if wanted.dataset is None:
            return {}, {}
        self.prepare()
        assert self._records is not None
        rows, labels = [], []
        for first in range(0, len(self._records), _BATCH):
            read = [(self._clip(record), record.label) for record in self._records[first : first + _BATCH]]
            clips = [(clip, label) for clip, label in read if clip is not None]
            if clips:
                stacked = torch.stack([clip for clip, _ in clips]).to(self.settings.device)
                with autocast(self.settings.device, self.settings.precision):
                    rows.append(model.video_model.embed(normalise(stacked, IMAGENET_MEAN, IMAGENET_STD)).float())
                labels += [label for _, label in clips]
        if len(labels) < 2:
            tried = ", ".join(str(record.path) for record in self._records[:3])
            raise UserError(
                f"of the {len(self._records)} held-out clips of validation.dataset={wanted.dataset} fewer than 2 can "
                f"be read: {tried}; `tvts-bench check {wanted.dataset}` says why"
            )
        failed = len(self._records) - len(labels)
        if failed > self._failed:  # once, and not at every look
            logger.warning("%d of %d held-out clips cannot be read: not measured", failed, len(self._records))
        self._failed = failed
        return recall_at_1(torch.cat(rows), labels)

    def _clip(self, record: VideoRecord) -> Tensor | None:
        """uint8 [3, T, H, W] of a labelled video, None if it cannot be read."""
        if record.id in self._clips:
            return self._clips[record.id]
        video = self.config.video
        spec = ClipSpec(num_frames=video.num_frames, short_side=video.image_size, crop=video.image_size)
        try:
            clip = load_clip(record.path, record.id, spec).pixels[0]
        except VideoDecodeError:
            return None
        if (len(self._clips) + 1) * clip.nbytes < _REMEMBERED:
            self._clips[record.id] = clip
        return clip


def recall_at_1(embeddings: Tensor, labels: Sequence[int]) -> tuple[dict[str, float], dict[str, float]]:
    """Percent of rows of `embeddings` [N, D] whose nearest other row (cosine) has the same label, and chance."""
    names = torch.tensor(labels, device=embeddings.device)
    similarity = F.normalize(embeddings, dim=-1) @ F.normalize(embeddings, dim=-1).T
    similarity.fill_diagonal_(-torch.inf)
    hits = names[similarity.argmax(dim=1)] == names
    same = (names[:, None] == names).sum(dim=1) - 1
    guess = (same.float() / max(len(labels) - 1, 1)).mean()
    return {"recall_at_1": 100 * float(hits.float().mean())}, {"recall_at_1": 100 * float(guess)}
