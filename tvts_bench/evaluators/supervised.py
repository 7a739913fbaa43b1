"""What the online probe and fine-tuning share: train a classifier by a recipe, test it on several views of a clip."""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tvts_bench.backbones.base import Backbone, tensors_sha256
from tvts_bench.datasets.base import Dataset, VideoRecord
from tvts_bench.distributed import Rank, broadcast_from_rank0
from tvts_bench.errors import UserError
from tvts_bench.evaluators.base import Outcome
from tvts_bench.evaluators.splits import TRAIN, CheckedSplits, check_splits, require_measured
from tvts_bench.evaluators.supervised_report import Tested, outcome_of
from tvts_bench.features.decoding import Decoded, Decoding, load_clips
from tvts_bench.metrics.classification import correct_at_k
from tvts_bench.probes.base import hold_out
from tvts_bench.provenance import digest
from tvts_bench.runtime import Runtime, silent
from tvts_bench.snapshot import file_signatures, snapshot
from tvts_bench.training.checkpoint import FilesRead, RunDir
from tvts_bench.training.classification import Measure, Trained, train_classifier
from tvts_bench.training.classifier import Classifier, ClassifierSettings
from tvts_bench.training.dataloader import ClipLoader
from tvts_bench.training.presets import Task, preset
from tvts_bench.training.recipe import Recipe
from tvts_bench.training.scoring import Scorer, average_views
from tvts_bench.video.reader import decoder_identity
from tvts_bench.video.spec import ClipSpec

VERSION = 2  # raised when equal inputs train other weights


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """A protocol that trains. What is left out is filled in by `resolve` from the data set and the backbone."""

    task: ClassVar[Task]  # which presets; a probe trains the head alone
    condition: ClassVar[str]  # what its numbers are called

    recipe: Recipe | None = None  # None: the preset of the data set
    train_split: str | None = None  # None: "train"
    split: str | None = None  # to test on; None: the split that the data set's papers evaluate
    clip: ClipSpec | None = None  # its size and length; None: the backbone's own. Frames and views are the recipe's
    allow_shared_clips: bool = False  # clips that are trained on may be tested on, too; the result says so
    decoder: str = "decord"

    @property
    def splits(self) -> tuple[str, str]:
        """The tested split, then the one that is trained on; of a resolved protocol."""
        assert self.split is not None
        assert self.train_split is not None
        return self.split, self.train_split

    def resolve(self, backbone: Backbone, dataset: Dataset) -> Self:
        """With the data set's recipe and usual split, and the backbone's own clip, where none was given."""
        recipe = self.recipe or preset(self.task, dataset.name)
        clip = recipe.testing_clip(self.clip or backbone.clip_spec)
        return replace(
            self,
            recipe=recipe,
            train_split=self.train_split or TRAIN,
            split=self.split or dataset.info.default_split,
            clip=clip,
        )

    def run(self, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> Outcome:
        """Train a copy of `backbone` with a head, and test it. `backbone` itself stays as it is.

        States and curves are left in a folder of the training's own in `runtime.out`. A training is known by what it
        trains, on what and how: testing it on other views trains nothing again, with `runtime.resume`.

        Args:
            backbone: is not changed.
            dataset: has the splits.
            runtime: device, workers, folders: what changes no number.

        Raises:
            StoppedError: SIGTERM, Ctrl-C or SIGHUP; `runtime.resume` resumes it.
            UserError: the splits do not go together (see `check_splits`), nothing can be held out, a clip cannot be
                read and `runtime.strict` is set, and what `train_classifier` refuses.
        """
        return _Run(self.resolve(backbone, dataset), backbone, dataset, runtime).measure()


class _Run:
    """One training and its test: which clips go where, under which key, and what came of it."""

    def __init__(self, protocol: Supervised, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> None:
        assert protocol.recipe is not None
        assert protocol.clip is not None
        self.protocol, self.backbone, self.dataset, self.runtime = protocol, backbone, dataset, runtime
        self.recipe, self.clip, self.decoder = protocol.recipe, protocol.clip, protocol.decoder
        test, train = protocol.splits
        self.splits = train, test
        self.frozen = protocol.task == "probe"

    def measure(self) -> Outcome:
        """Train, test, and report."""
        lists = check_splits(self.dataset, *self.splits, allow_shared=self.protocol.allow_shared_clips)
        fit, choose = self._divided(lists)
        train, test = self.splits
        tested = file_signatures(_files(lists.test))  # before any is read
        files = FilesRead({split: _files(self.dataset.records(split)) for split in self._depends_on})
        trained, model = self._train(fit, choose, files)
        scorer = Scorer(lists.test, self.clip, self.decoder, self.runtime)
        scores = scorer.score(model, self.recipe.precision, len(self.dataset.class_names))
        require_measured(scores, len(lists.test), test, strict=self.runtime.strict)
        result = Tested(
            recipe=self.recipe,
            clip=self.clip,
            splits=self.splits,
            condition=self.protocol.condition,
            frozen=self.frozen,
            held_out=sum(record.id not in trained.failed for record in choose),
            trained=trained,
            scores=scores,
            notes=lists.notes,
            files={train: files.snapshot(train), test: snapshot(tested)},
        )
        return outcome_of(result, self.dataset, self.runtime)

    @property
    def _depends_on(self) -> tuple[str, ...]:
        """The splits whose files the weights depend on, first the one that is trained on."""
        train, test = self.splits
        return (train, test) if self.recipe.best == "test" else (train,)

    def _divided(self, lists: CheckedSplits) -> tuple[Sequence[VideoRecord], Sequence[VideoRecord]]:
        """Who is trained on, and who chooses the epoch: nobody where the last one is tested."""
        if self.recipe.best != "held-out":
            return lists.train, lists.test if self.recipe.best == "test" else ()
        labels = np.array([record.label for record in lists.train], dtype=np.int64)
        held = hold_out(labels, [record.group for record in lists.train], self.recipe.held_out, self.recipe.seed)
        if not len(held.held):
            raise UserError(
                f"no class of {self.dataset.name} {self.splits[0]} can spare a clip (or a group of them) to choose the"
                " epoch by: test the last one with --best last"
            )
        return [lists.train[row] for row in held.fit], [lists.train[row] for row in held.held]

    def _train(
        self, fit: Sequence[VideoRecord], choose: Sequence[VideoRecord], files: FilesRead
    ) -> tuple[Trained, Classifier]:
        recipe, runtime, classes = self.recipe, self.runtime, len(self.dataset.class_names)
        rank = Rank(rank=runtime.rank, world_size=runtime.world_size, device=runtime.device)
        settings = ClassifierSettings(recipe=recipe, clip=self.clip, num_classes=classes, rank=rank)
        loader = ClipLoader(
            fit,
            replace(recipe, max_failures=0.0) if runtime.strict else recipe,
            self.clip,
            decoder=self.decoder,
            workers=runtime.workers,
            rank=rank,
            clip_timeout=runtime.clip_timeout,
        )
        drop_path = 0.0 if self.frozen else recipe.drop_path
        model = Classifier(self.backbone, classes, frozen=self.frozen, drop_path=drop_path, seed=recipe.seed)
        key = self._training_key()
        run_dir = RunDir(
            folder=self._folder(key), digest=key, resume=runtime.resume, progress=runtime.progress, files=files
        )
        begins = runtime.retrain
        if runtime.resume and not begins:
            begins = broadcast_from_rank0(runtime, lambda: self._heals(run_dir, (*fit, *choose)))
        if begins:
            broadcast_from_rank0(runtime, run_dir.begin_anew)
        measure = self._choice(choose, loader, files) if choose else None
        return train_classifier(model, loader, settings, run_dir, measure), model

    def _choice(self, records: Sequence[VideoRecord], loader: ClipLoader, files: FilesRead) -> Measure:
        """Top-1 and loss on one view of each of `records`, which choose the epoch, as they are tested.

        What cannot be read is added to what the loader knows of, and files that were read to `files`.
        """
        one_view = replace(self.clip, temporal_views=1, spatial_views=1)
        scorer = Scorer(records, one_view, self.decoder, replace(self.runtime, progress=silent))
        split = self._depends_on[-1]

        def measure(model: nn.Module) -> Mapping[str, float]:
            scores = scorer.score(model, self.recipe.precision, len(self.dataset.class_names))
            if self.recipe.best == "held-out":  # test clips are counted when tested
                loader.failed.update(scores.failed)
            loader.transient.update(scores.transient)
            if not files.knows((record.id for record in records), split):
                files.add(scorer.contents(), split)
            require_measured(scores, len(records), "clips that choose the epoch", strict=self.runtime.strict)
            logits = average_views(scores.logits, "logits")
            loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(scores.labels))
            top_1 = 100 * float(correct_at_k(logits, scores.labels).mean())
            return {"top_1": top_1, "loss": float(loss), "clips": float(len(scores.ids))}

        return measure

    def _heals(self, run_dir: RunDir, records: Sequence[VideoRecord]) -> bool:
        """Whether clips that a finished training lacked for the moment can be read now: it then has to begin anew."""
        state = run_dir.state()
        if state is None or state.step < state.steps or not state.transient:
            return False
        lacked = [record for record in records if record.id in state.transient]
        workers, timeout = self.runtime.workers, self.runtime.clip_timeout
        decoding = Decoding(clip=self.clip, decoder=self.decoder, workers=workers, timeout=timeout)
        with closing(load_clips(lacked, decoding)) as clips:
            return any(isinstance(clip, Decoded) for clip in clips)

    def _training_key(self) -> str:
        """Digest (sha256, hex) of everything that can change the weights; how they are tested is not among it."""
        (train, test), backbone, dataset = self.splits, self.backbone, self.dataset
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

    def _folder(self, key: str) -> Path:
        """A readable name that is unique to the training."""
        what = "probe" if self.frozen else "finetune"
        parts = (self.dataset.name, self.splits[0], self.backbone.family, self.backbone.variant, what, key[:12])
        name = "-".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts)
        return (self.runtime.out or self.runtime.cache / "training") / name


def _files(records: Sequence[VideoRecord]) -> dict[str, Path]:
    return {record.id: record.path for record in records}
