"""One supervised training and its test: which clips go where, under which key, and what came of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tvts_bench.backbones.base import Backbone, tensors_sha256
from tvts_bench.datasets.base import Dataset, VideoRecord
from tvts_bench.evaluators.base import EvaluationError, Outcome
from tvts_bench.evaluators.supervised_outcome import Tested, outcome_of
from tvts_bench.evaluators.train_and_test import train_and_test
from tvts_bench.metrics.classification import correct_at_k
from tvts_bench.metrics.measured import damage_line, failure_line
from tvts_bench.probes.selection import hold_out
from tvts_bench.provenance import digest
from tvts_bench.runtime import Runtime, silent
from tvts_bench.training.classifier import Classifier
from tvts_bench.training.classifier_step import StepSettings
from tvts_bench.training.clip_loader import ClipLoader, ClipsConfig
from tvts_bench.training.place import TrainingPlace
from tvts_bench.training.ranks import Rank
from tvts_bench.training.recipes import Recipe
from tvts_bench.training.scoring import Scorer, Scores, average_views
from tvts_bench.training.supervised import Measure, Trained, train_classifier
from tvts_bench.video.reader import decoder_identity
from tvts_bench.video.spec import ClipSpec

VERSION = 1  # raised when equal inputs train other weights


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """Who is trained on, who chooses the epoch, who is tested."""

    fit: Sequence[VideoRecord]
    choose: Sequence[VideoRecord]  # empty: the last epoch is tested
    test: Sequence[VideoRecord]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SupervisedRun:
    """What was asked for, complete."""

    recipe: Recipe
    clip: ClipSpec  # as it is tested
    decoder: str
    splits: tuple[str, str]  # trained on, tested
    frozen: bool
    allow_shared_clips: bool

    def measure(self, backbone: Backbone, dataset: Dataset, runtime: Runtime, condition: str) -> Outcome:
        """Train, test, and say what came of it under the name `condition`.

        Raises:
            EvaluationError, StoppedError, UserError: see `Supervised.run`.
        """
        parts = self._parts(dataset)
        trained, model = self._train(backbone, dataset, parts, runtime)
        scores = Scorer(parts.test, self.clip, self.decoder, runtime).score(
            model, self.recipe.precision, len(dataset.class_names)
        )
        _require(scores, len(parts.test), self.splits[1], runtime)
        return outcome_of(
            Tested(
                recipe=self.recipe,
                clip=self.clip,
                splits=self.splits,
                condition=condition,
                frozen=self.frozen,
                held_out=sum(record.id not in trained.failed for record in parts.choose),
                trained=trained,
                scores=scores,
                notes=parts.notes,
            ),
            dataset,
            runtime,
        )

    def _parts(self, dataset: Dataset) -> _Parts:
        lists = train_and_test(dataset, *self.splits, allow_shared=self.allow_shared_clips)
        train, test, notes = lists.train, lists.test, lists.notes
        if self.recipe.best != "held-out":
            return _Parts(fit=train, choose=test if self.recipe.best == "test" else (), test=test, notes=notes)
        labels = np.array([record.label for record in train], dtype=np.int64)
        held = hold_out(labels, [record.group for record in train], self.recipe.held_out, self.recipe.seed)
        if not len(held.held):
            raise EvaluationError(
                f"no class of {dataset.name} {self.splits[0]} can spare a clip (or a group of them) to choose the epoch"
                " by: test the last one with --best last"
            )
        fit, choose = ([train[row] for row in rows] for rows in (held.fit, held.held))
        return _Parts(fit=fit, choose=choose, test=test, notes=notes)

    def _train(
        self, backbone: Backbone, dataset: Dataset, parts: _Parts, runtime: Runtime
    ) -> tuple[Trained, Classifier]:
        recipe, classes = self.recipe, len(dataset.class_names)
        rank = Rank(rank=runtime.rank, world_size=runtime.world_size, device=runtime.device)
        settings = StepSettings(recipe=recipe, clip=self.clip, num_classes=classes, rank=rank)
        config = ClipsConfig.of(recipe, self.clip, self.decoder)
        if runtime.strict:
            config = replace(config, max_failures=0.0)
        loader = ClipLoader(
            parts.fit,
            config,
            workers=runtime.workers,
            rank=runtime.rank,
            world_size=runtime.world_size,
            clip_timeout=runtime.clip_timeout,
        )
        drop_path = 0.0 if self.frozen else recipe.drop_path
        model = Classifier(backbone, classes, frozen=self.frozen, drop_path=drop_path, seed=recipe.seed)
        key = self.training_key(backbone, dataset)
        place = TrainingPlace(
            folder=self._folder(backbone, dataset, runtime, key),
            digest=key,
            resume=runtime.resume,
            progress=runtime.progress,
        )
        failed = loader.failed if recipe.best == "held-out" else {}  # those of the test clips are counted when tested
        measure = self._measure(parts.choose, classes, failed, runtime) if parts.choose else None
        return train_classifier(model, loader, settings, place, measure), model

    def training_key(self, backbone: Backbone, dataset: Dataset) -> str:
        """sha256 (hex) of everything that can change the weights; how they are tested is not among it."""
        train, test = self.splits
        return digest(
            {
                "version": VERSION,
                "recipe": replace(self.recipe, views="1x1", average="logits"),
                "clip": self.recipe.training_clip(self.clip),
                "frozen": self.frozen,
                "backbone": [backbone.family, backbone.variant, tensors_sha256(backbone)],
                "train": [dataset.fingerprint(train), dataset.group_fingerprint(train)],
                "chosen_on": dataset.fingerprint(test) if self.recipe.best == "test" else None,
                "decoder": decoder_identity(self.decoder),
            }
        )

    def _folder(self, backbone: Backbone, dataset: Dataset, runtime: Runtime, key: str) -> Path:
        """A readable name that is unique to the training."""
        what = "probe" if self.frozen else "finetune"
        parts = (dataset.name, self.splits[0], backbone.family, backbone.variant, what, key[:12])
        name = "-".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts)
        return (runtime.out or runtime.cache / "training") / name

    def _measure(
        self, records: Sequence[VideoRecord], classes: int, failed: dict[str, str], runtime: Runtime
    ) -> Measure:
        """Top-1 and loss on one view of each of `records`, as they are tested; those unreadable go into `failed`."""
        clip = replace(self.clip, temporal_views=1, spatial_views=1)
        scorer = Scorer(records, clip, self.decoder, replace(runtime, progress=silent))
        return partial(self._measured, scorer, classes, failed)

    def _measured(self, scorer: Scorer, classes: int, failed: dict[str, str], model: nn.Module) -> Mapping[str, float]:
        scores = scorer.score(model, self.recipe.precision, classes)
        failed.update(scores.failed)
        _require(scores, len(scorer.records), "clips that choose the epoch", scorer.runtime)
        logits = average_views(scores.logits, "logits")
        loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(scores.labels))
        top_1 = 100 * float(correct_at_k(logits, scores.labels).mean())
        return {"top_1": top_1, "loss": float(loss), "clips": float(len(scores.ids))}


def _require(scores: Scores, listed: int, what: str, runtime: Runtime) -> None:
    """Refuse scores of nothing, or of less than everything if that was asked for."""
    if scores.failed and (runtime.strict or not scores.ids):
        first, reason = next(iter(scores.failed.items()))
        way_out = "; without --strict they are left out and counted" if scores.ids else ""
        raise EvaluationError(
            f"{len(scores.failed)} of {listed} clips of {what} cannot be measured, the first:"
            f" {failure_line(first, reason)}{way_out}"
        )
    if scores.damaged and runtime.strict:
        line = damage_line(scores.damaged, listed, what)
        raise EvaluationError(f"{line}; without --strict they are measured and named")
