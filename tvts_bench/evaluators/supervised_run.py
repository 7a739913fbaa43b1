"""One supervised training and its test: which clips go where, under which key, and what came of it."""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tvts_bench.backbones.base import Backbone, tensors_sha256
from tvts_bench.datasets.base import Dataset, VideoRecord
from tvts_bench.devices import from_rank_zero
from tvts_bench.evaluators.base import EvaluationError, Outcome
from tvts_bench.evaluators.supervised_outcome import Tested, outcome_of
from tvts_bench.evaluators.train_and_test import train_and_test
from tvts_bench.features.decoding import Decoded, Decoding
from tvts_bench.features.workers import load_clips
from tvts_bench.metrics.classification import correct_at_k
from tvts_bench.metrics.measured import damage_line, failure_line
from tvts_bench.probes.selection import hold_out
from tvts_bench.provenance import digest
from tvts_bench.runtime import Runtime, silent
from tvts_bench.snapshot import file_signatures, snapshot
from tvts_bench.training.classifier import Classifier
from tvts_bench.training.classifier_step import StepSettings
from tvts_bench.training.clip_loader import ClipLoader, ClipsConfig
from tvts_bench.training.files_read import FilesRead
from tvts_bench.training.place import TrainingPlace
from tvts_bench.training.ranks import Rank
from tvts_bench.training.recipes import Recipe
from tvts_bench.training.scoring import Scorer, Scores, average_views
from tvts_bench.training.supervised import Measure, Trained, train_classifier
from tvts_bench.video.reader import decoder_identity
from tvts_bench.video.spec import ClipSpec

VERSION = 2  # raised when equal inputs train other weights


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
        train, test = self.splits
        tested = file_signatures(_files(parts.test))  # before any is read
        files = FilesRead({split: _files(dataset.records(split)) for split in self._depends_on})
        trained, model = self._train(backbone, dataset, parts, runtime, files)
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
                files={train: files.snapshot(train), test: snapshot(tested)},
            ),
            dataset,
            runtime,
        )

    @property
    def _depends_on(self) -> tuple[str, ...]:
        """The splits whose files the weights depend on, first the one that is trained on."""
        train, test = self.splits
        return (train, test) if self.recipe.best == "test" else (train,)

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
        self, backbone: Backbone, dataset: Dataset, parts: _Parts, runtime: Runtime, files: FilesRead
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
            files=files,
        )
        if runtime.retrain or (runtime.resume and from_rank_zero(runtime, lambda: self._heals(place, parts, runtime))):
            from_rank_zero(runtime, place.begin_anew)
        measure = self._choice(parts.choose, classes, loader, files, runtime) if parts.choose else None
        return train_classifier(model, loader, settings, place, measure), model

    def _choice(
        self, records: Sequence[VideoRecord], classes: int, loader: ClipLoader, files: FilesRead, runtime: Runtime
    ) -> Measure:
        """What chooses the epoch by `records`."""
        one_view = replace(self.clip, temporal_views=1, spatial_views=1)
        return _EpochChoice(
            scorer=Scorer(records, one_view, self.decoder, replace(runtime, progress=silent)),
            recipe=self.recipe,
            num_classes=classes,
            transient=loader.transient,
            failed=loader.failed if self.recipe.best == "held-out" else {},  # test clips are counted when tested
            files=files,
            split=self._depends_on[-1],
        )

    def _heals(self, place: TrainingPlace, parts: _Parts, runtime: Runtime) -> bool:
        """Whether clips that a finished training lacked for the moment can be read now: it then has to begin anew."""
        state = place.found()
        if state is None or state.step < state.steps or not state.transient:
            return False
        lacked = [record for record in (*parts.fit, *parts.choose) if record.id in state.transient]
        decoding = Decoding(clip=self.clip, decoder=self.decoder, workers=runtime.workers, timeout=runtime.clip_timeout)
        with closing(load_clips(lacked, decoding)) as clips:
            return any(isinstance(clip, Decoded) for clip in clips)

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


@dataclass(frozen=True, kw_only=True, eq=False)
class _EpochChoice:
    """Top-1 and loss on one view of each clip that chooses the epoch, as they are tested."""

    scorer: Scorer
    recipe: Recipe
    num_classes: int  # C
    failed: dict[str, str]  # id -> reason: those unreadable are added
    transient: set[str]  # ids: those that may be readable another time are added
    files: FilesRead  # of `split`: what was read is added
    split: str

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        scores = self.scorer.score(model, self.recipe.precision, self.num_classes)
        self.failed.update(scores.failed)
        self.transient.update(scores.transient)
        if not self.files.knows((record.id for record in self.scorer.records), self.split):
            self.files.add(self.scorer.contents(), self.split)
        _require(scores, len(self.scorer.records), "clips that choose the epoch", self.scorer.runtime)
        logits = average_views(scores.logits, "logits")
        loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(scores.labels))
        top_1 = 100 * float(correct_at_k(logits, scores.labels).mean())
        return {"top_1": top_1, "loss": float(loss), "clips": float(len(scores.ids))}


def _files(records: Sequence[VideoRecord]) -> dict[str, Path]:
    return {record.id: record.path for record in records}


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
