"""Probes of frozen features that are extracted once: k-NN, logistic regression, a grid of linear heads.

The fast protocol. Hyper-parameters are chosen on a held-out part of the training split, the chosen head is fitted to
all of it, and the test split is scored once. Not the paper's recipe, which draws new augmented clips in every epoch
(`online_probe`), and never to be confused with it.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self, get_args

import numpy as np

from tvts_bench.backbones.base import Backbone, TokenBackbone
from tvts_bench.datasets.base import Dataset
from tvts_bench.distributed import broadcast_from_rank0
from tvts_bench.errors import UserError
from tvts_bench.evaluators.base import Outcome
from tvts_bench.evaluators.classification_report import ClassifierScores, classification_tables, summarise
from tvts_bench.evaluators.probe_heads import CONDITIONS, HeadName, Heads, Tasks, choices_table, chosen_in_words
from tvts_bench.evaluators.splits import TRAIN, CheckedSplits, SplitFeatures, check_splits, extract_split
from tvts_bench.features.base import Dtype, Features
from tvts_bench.probes.base import Fitted, Float32Array, HeldOut, IntArray, LabelledFeatures, LowLabel, Task, hold_out
from tvts_bench.provenance import WHERE_SET
from tvts_bench.runtime import Runtime
from tvts_bench.training.presets import preset
from tvts_bench.video.spec import ClipSpec

MAX_TOKEN_BYTES = 2**33  # of the patch tokens of both splits, float32, which an attentive head is trained from

MAX_AUGMENTED = 100


@dataclass(frozen=True, kw_only=True)
class CachedProbe:
    """The protocol."""

    name: ClassVar[str] = "cached_probe"

    split: str | None = None  # to test on; None: the split that the data set's papers evaluate
    train_split: str | None = None  # None: "train"
    heads: tuple[HeadName, ...] = ("knn", "logistic", "linear")  # also "attentive", which needs patch tokens
    settings: Heads = field(default_factory=Heads)  # of each head: grids, epochs
    held_out: float = 0.2  # share of every class of the training split that hyper-parameters are chosen on
    low_label: LowLabel | None = None  # None: all training clips
    # Views of every training clip beside the plain one, varied as the online probe's recipe varies them.
    augmented: int = field(default=0, metadata=WHERE_SET)
    seeds: tuple[int, ...] = (0,)  # of all draws: labels kept, held-out part, order of clips; several give a spread
    allow_shared_clips: bool = False  # test on clips that were trained on, and say so
    clip: ClipSpec | None = None  # None: the backbone's own
    decoder: str = "decord"
    dtype: Dtype = "fp32"

    def __post_init__(self) -> None:
        unknown = [head for head in self.heads if head not in get_args(HeadName)]
        if unknown or not self.heads or len(set(self.heads)) < len(self.heads):
            names = ", ".join(map(repr, self.heads)) or "none"
            raise UserError(f"--head must name different heads of: {', '.join(get_args(HeadName))}; got {names}")
        if not 0 <= self.held_out < 1:
            raise UserError(f"the held-out share must be from 0 to below 1, got {self.held_out:g}")
        if not 0 <= self.augmented <= MAX_AUGMENTED:
            raise UserError(f"augmented views must be from 0 to {MAX_AUGMENTED}, got {self.augmented}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds must be one or more different numbers, got {list(self.seeds)}")

    @property
    def splits(self) -> tuple[str, str]:
        """The tested split, then the one that is trained on; of a resolved protocol."""
        assert self.split is not None
        assert self.train_split is not None
        return self.split, self.train_split

    def resolve(self, backbone: Backbone, dataset: Dataset) -> Self:
        """With the data set's usual splits and the backbone's own clip where none was given."""
        return replace(
            self,
            split=self.split or dataset.info.default_split,
            train_split=self.train_split or TRAIN,
            clip=self.clip or backbone.clip_spec,
        )

    def prepare(self, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> tuple[tuple[str, ClipSpec], ...]:
        """See `FromFeatures`; patch tokens of an attentive head are not among them."""
        probe = _Probe(self.resolve(backbone, dataset), backbone, dataset, runtime)
        return ((probe.split, probe.clip), *((probe.train_split, clip) for clip in probe.train_clips))

    def run(self, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> Outcome:
        """Features of both splits, heads, metrics.

        Args:
            backbone: is not changed.
            dataset: has the splits.
            runtime: device, workers, folders: what changes no number.

        Raises:
            UserError: the splits do not go together (see `check_splits`), or a clip cannot be read and
                `runtime.strict` is set.
            UserError: what the heads refuse.
        """
        probe = _Probe(self.resolve(backbone, dataset), backbone, dataset, runtime)
        probe.extract()
        return broadcast_from_rank0(runtime, lambda: probe.outcome(probe.fit()))


class _Probe:
    """One evaluation. Made from a resolved protocol."""

    def __init__(self, protocol: CachedProbe, backbone: Backbone, dataset: Dataset, runtime: Runtime) -> None:
        assert protocol.clip is not None
        self.protocol, self.backbone, self.dataset, self.runtime = protocol, backbone, dataset, runtime
        (self.split, self.train_split), self.clip = protocol.splits, protocol.clip
        self.num_classes = len(dataset.class_names)
        augment = preset("probe", dataset.name).augment
        views = (self.clip.varied(augment, self.clip.seed + view) for view in range(protocol.augmented))
        self.train_clips = (self.clip, *views)
        self.tokens: dict[str, Float32Array] = {}
        self.lists: CheckedSplits = check_splits(
            dataset, self.train_split, self.split, allow_shared=protocol.allow_shared_clips
        )

    def extract(self) -> None:
        """The features of both splits, from the store where it has them."""
        self.splits = {split: self._extract(self.backbone, split) for split in (self.split, self.train_split)}
        self.test, self.train = (self.splits[split].under(self.clip) for split in (self.split, self.train_split))
        self.values = self._stacked(self.splits[self.train_split])
        if len(np.unique(self.train.labels)) < 2:
            raise UserError(
                f"only {len(self.train.ids)} clips of {self.dataset.name} {self.train_split} can be read, all of one"
                " class: there is nothing to tell apart"
            )
        if "attentive" in self.protocol.heads:
            self._extract_tokens()

    def _stacked(self, train: SplitFeatures) -> Float32Array:
        """Of the training split: all clips as they are, then all in their first augmented view, and so on."""
        return np.concatenate([train.under(clip).values for clip in self.train_clips])

    def _extract(self, backbone: Backbone, split: str) -> SplitFeatures:
        protocol = self.protocol
        return extract_split(
            backbone,
            self.dataset,
            split,
            self.train_clips if split == self.train_split else [self.clip],
            decoder=protocol.decoder,
            dtype=protocol.dtype,
            runtime=self.runtime,
        )

    def _extract_tokens(self) -> None:
        """The patch tokens of the same clips, [N, tokens, D] per split."""
        backbone = TokenBackbone(self.backbone, self.clip)
        num_clips = len(self.test.ids) + len(self.values)
        size = 4 * backbone.embed_dim * num_clips
        if size > MAX_TOKEN_BYTES:
            raise UserError(
                f"the {backbone.num_tokens} tokens of {num_clips:,} clips take"
                f" {size / 2**30:,.0f} GiB, more than the {MAX_TOKEN_BYTES / 2**30:g} GiB that are kept: leave out"
                " --head attentive, or probe a smaller data set"
            )
        for split, features in ((self.split, self.test), (self.train_split, self.train)):
            tokens = self._extract(backbone, split)
            now = tokens.under(self.clip)
            if now.ids != features.ids:
                raise UserError(
                    f"the clips of {split} that can be read are not the same as a moment ago"
                    f" ({len(features.ids)}, then {len(now.ids)}): run again"
                )
            values = self._stacked(tokens) if split == self.train_split else now.values
            self.tokens[split] = values.reshape(len(values), backbone.num_tokens, -1)

    def fit(self) -> dict[HeadName, list[Fitted]]:
        """Every head, once per seed."""
        fitted: dict[HeadName, list[Fitted]] = {head: [] for head in self.protocol.heads}
        for seed in self.protocol.seeds:
            for head, one in self.protocol.settings.fit(self.protocol.heads, self.tasks(seed), seed, self.runtime):
                fitted[head].append(one)
        return fitted

    def tasks(self, seed: int) -> Tasks:
        """What the heads learn with this seed: the labels it keeps, the part it holds out."""
        train, low_label = self.train, self.protocol.low_label
        kept = np.arange(len(train.ids)) if low_label is None else low_label.draw(train.labels, seed)
        labels = train.labels[kept]
        plain = self._parts(labels, [train.groups[row] for row in kept], seed)
        # Held-out clips are scored as test clips are, without augmentation; none of their views is learned from.
        views = range(len(self.train_clips))
        parts = replace(plain, fit=np.concatenate([plain.fit + view * len(kept) for view in views]))
        rows = np.concatenate([kept + view * len(train.ids) for view in views])
        labels = np.tile(labels, len(views))
        sources: dict[Literal["features", "tokens"], tuple[Float32Array, Float32Array]]
        sources = {"features": (self.values, self.test.values)}
        if self.tokens:
            sources["tokens"] = (self.tokens[self.train_split], self.tokens[self.split])
        return {
            name: Task(
                train=LabelledFeatures(values=values[rows], labels=labels),
                parts=parts,
                test=test,
                num_classes=self.num_classes,
            )
            for name, (values, test) in sources.items()
        }

    def _parts(self, labels: IntArray, groups: list[str | None], seed: int) -> HeldOut:
        if self.protocol.held_out == 0:
            return HeldOut(fit=np.arange(len(labels)), held=np.empty(0, dtype=np.int64))
        return hold_out(labels, groups, self.protocol.held_out, seed)

    def outcome(self, fitted: dict[HeadName, list[Fitted]]) -> Outcome:
        """Metrics and tables of the heads' scores."""
        seeds = self.protocol.seeds
        runs = [
            [
                ClassifierScores(condition=CONDITIONS[head], scores=one.scores, seed=seed)
                for seed, one in zip(seeds, per_seed, strict=True)
            ]
            for head, per_seed in fitted.items()
        ]
        seen = len(np.unique(self.train.labels))
        tables = classification_tables(
            [one for of_head in runs for one in of_head], self.test.ids, self.test.labels, self.dataset.class_names
        )
        splits = self.splits.values()
        return Outcome(
            metrics=tuple(metric for of_head in runs for metric in summarise(of_head, self.test.labels, seen)),
            coverage=tuple(features.coverage for features in splits),
            decoders=sum((features.decoders for features in splits), Counter()),
            computed_by=sum((features.computed_by for features in splits), Counter()),
            protocol=(*self._in_words(fitted), *chosen_in_words(self.protocol.settings, fitted)),
            tables=tables | {"choices": choices_table(fitted, seeds)},
            notes=self._notes(fitted),
        )

    def _in_words(self, fitted: dict[HeadName, list[Fitted]]) -> tuple[str, ...]:
        protocol = self.protocol
        kept = f", {protocol.low_label}" if protocol.low_label else ""
        beside = f"of training clips also in {protocol.augmented} augmented views each ({self.train_clips[-1].augment})"
        varied = beside if protocol.augmented else "no augmentation"
        lines = [
            f"cached probe: frozen features extracted once, {varied}; trained on {self.train_split}{kept},"
            f" tested on {self.split}",
            f"clips of {self.clip}, {protocol.dtype}; seeds {', '.join(map(str, protocol.seeds))}",
        ]
        if all(one.chosen.accuracy is None for per_seed in fitted.values() for one in per_seed):
            lines.append(
                f"hyper-parameters not chosen, since nothing of {self.train_split} was held out: every head's usual"
                f" ones; {self.split} was touched once"
            )
        else:
            lines.append(
                f"hyper-parameters chosen on {100 * protocol.held_out:g} % of every class of {self.train_split}, held"
                f" out by whole groups; then fitted to all of it; {self.split} was touched once"
            )
        return tuple(lines)

    def _notes(self, fitted: dict[HeadName, list[Fitted]]) -> tuple[str, ...]:
        notes = [*self.lists.notes, *(note for per_seed in fitted.values() for one in per_seed for note in one.notes)]
        lost = np.setdiff1d(self.test.labels, self.train.labels)
        if len(lost):
            names = ", ".join(self.dataset.class_names[label] for label in lost.tolist())
            notes.append(f"no training clip of {names} could be read: their test clips count as errors")
        copies = _exact_copies(self.train, self.test) - self.lists.shared
        if copies > 0:
            notes.append(f"{copies} test clips have exactly the features of a training clip: copies under other names?")
        return tuple(dict.fromkeys(notes))


def _exact_copies(train: Features, test: Features) -> int:
    """Test clips whose features are bit-identical to those of a training clip."""
    trained = {row.tobytes() for row in train.values}
    return sum(row.tobytes() in trained for row in test.values)


DEFAULT = CachedProbe()
