"""The cached probe against the online one, a grid of heads against one, two solvers, and a step of fine-tuning.

    python benchmarks/probing.py                                          minutes on two cores
    python benchmarks/probing.py --clips 96 --epochs 2 --batch 0          seconds: does it run?
    OMP_NUM_THREADS=1 python benchmarks/probing.py --threads 1            processor time: for a busy machine

On the embedded SSV2-like set. *Online*: its preset without augmentation, whose every epoch embeds every clip; short
videos stay decoded in memory, so only the first epoch decodes. *Cached*: features extracted once into an empty store,
then heads for as many epochs. Three heads answer three questions: the grid, what the cached probe reports; one head at
the online rate by the cached probe's own schedule; and the online probe's very head, optimiser, schedule and batches on
stored features, which differs from it by the features alone. (The variable: scikit-learn's threads wait by working.)
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from pretraining import take_turns, unfused
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

from tvts_bench.backbones.base import Backbone
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.datasets.base import Dataset, VideoRecord
from tvts_bench.datasets.loading import load_dataset
from tvts_bench.distributed import Rank
from tvts_bench.evaluators.cached_probe import CachedProbe
from tvts_bench.evaluators.online_probe import OnlineProbe
from tvts_bench.evaluators.probe_heads import Heads, Scaling
from tvts_bench.evaluators.splits import extract_split
from tvts_bench.features.base import Features
from tvts_bench.probes.base import HeldOut, IntArray, LabelledFeatures, LowLabel, Task, hold_out
from tvts_bench.probes.linear import Linear, fit_linear
from tvts_bench.probes.logistic import Logistic, fit_logistic
from tvts_bench.runtime import Runtime, default_workers
from tvts_bench.training.classifier import Classifier, ClassifierSettings, backward
from tvts_bench.training.dataloader import ClipBatch
from tvts_bench.training.optim import LearningRate, classifier_optimizer
from tvts_bench.training.presets import preset
from tvts_bench.training.recipe import Precision, Recipe, without_augmentation
from tvts_bench.training.sampler import ClipSampler
from tvts_bench.video.spec import ClipSpec

T = TypeVar("T")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """What is probed, where, and for how long."""

    backbone: Backbone
    dataset: Dataset
    runtime: Runtime  # with a store of its own
    epochs: int

    @property
    def recipe(self) -> Recipe:
        """The online probe's, on clips as they are; one view and the last epoch are tested, as with features."""
        recipe = without_augmentation(preset("probe", self.dataset.name))
        warmup = self.epochs * recipe.warmup_epochs / recipe.epochs
        batch = min(recipe.batch_size, len(self.dataset.records("train")))
        return replace(recipe, epochs=self.epochs, warmup_epochs=warmup, batch_size=batch, views="1x1", best="last")

    @property
    def clip(self) -> ClipSpec:
        """What the online probe is tested on; features are extracted from the same."""
        return self.recipe.testing_clip(self.backbone.clip_spec)

    def features(self, split: str) -> Features:
        """Extracted, or from the store where they are there."""
        how = {"decoder": "decord", "dtype": "fp32", "runtime": self.runtime}
        return extract_split(self.backbone, self.dataset, split, [self.clip], **how).under(self.clip)  # type: ignore[arg-type]


def embedded(clips: int) -> Dataset:
    """The SSV2-like set with about `clips` of each split, the same share of every class."""
    whole = load_dataset("scripted_motion:ssv2")

    def some(split: str) -> list[VideoRecord]:
        records = whole.records(split)
        labels = np.array([record.label for record in records], dtype=np.int64)
        return [records[row] for row in LowLabel(fraction=min(1.0, clips / len(records))).draw(labels, seed=0)]

    return replace(whole, readers={split: partial(some, split) for split in whole.splits}, _cache={})


def clocked(run: Callable[[], T]) -> tuple[float, T]:
    """Seconds of one call, and what it gave; processor seconds where there is only one thread."""
    clock = time.process_time if torch.get_num_threads() == 1 and DEVICE == "cpu" else time.perf_counter
    start, result = clock(), run()
    return clock() - start, result


def predicted(evaluator: CachedProbe | OnlineProbe, bench: Bench) -> IntArray:
    """The class that an evaluation answers for every test clip."""
    outcome = evaluator.resolve(bench.backbone, bench.dataset).run(bench.backbone, bench.dataset, bench.runtime)
    return np.array(outcome.tables["logits"]["predicted"])


def table(title: str, *columns: str) -> Table:
    """An empty one: names at the left, numbers at the right."""
    made = Table(title=title)
    for number, column in enumerate(columns):
        made.add_column(column, justify="right" if number else "left")
    return made


def online_head_on(bench: Bench, train: Features, test: Features) -> IntArray:
    """What the online probe's head says if it is trained, in the online probe's steps, on features of the store."""
    recipe = bench.recipe
    assert train.ids == tuple(record.id for record in bench.dataset.records("train"))  # numbered alike
    model = Classifier(bench.backbone, len(bench.dataset.class_names), frozen=True, seed=recipe.seed)
    optimizer = classifier_optimizer(recipe, model.backbone, model.head)
    order = ClipSampler(size=len(train.ids), batch_size=recipe.batch_size, seed=recipe.seed)
    rate = LearningRate(optimizer, recipe.schedule, recipe.epochs * order.steps_per_epoch)
    values, labels = torch.from_numpy(train.values), torch.from_numpy(train.labels)
    for step in range(recipe.epochs * order.steps_per_epoch):
        rate.set(step)
        rows = [draw.index for draw in order.draws(step)]
        optimizer.zero_grad()
        F.cross_entropy(model.head(values[rows]), labels[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.head(torch.from_numpy(test.values)).argmax(dim=1).numpy()  # type: ignore[no-any-return]


def compare_probes(bench: Bench) -> tuple[Table, float, Features, Features]:
    """The table, the seconds of extraction, and the features of both splits."""
    recipe = bench.recipe
    online, answers = clocked(lambda: predicted(OnlineProbe(recipe=recipe), bench))
    extraction, (train, test) = clocked(lambda: (bench.features("train"), bench.features("val")))
    full = Linear(epochs=bench.epochs)
    one = replace(full, lrs=(recipe.lr,), weight_decays=(0.0,), batch_size=recipe.batch_size)
    grid = CachedProbe(heads=("linear",), settings=Heads(linear=full), clip=bench.clip)
    alone = replace(grid, settings=Heads(linear=one, scaled=False), held_out=0.0)
    found = {
        "online": (online, answers),
        "stored: grid of heads": clocked(lambda: predicted(grid, bench)),
        "stored: the online rate alone": clocked(lambda: predicted(alone, bench)),
        "stored: the online steps": clocked(lambda: online_head_on(bench, train, test)),
    }
    title = f"{len(train.ids)} + {len(test.ids)} clips, {bench.epochs} epochs; {extraction:.2f} s to extract and store"
    rows = table(title, "probe", "s", "times cheaper", "top-1", "points to online", "equal predictions")
    for name, (own, said) in found.items():
        seconds = own + (0 if name == "online" else extraction)
        top_1, top_1_online = (100 * float((one == test.labels).mean()) for one in (said, answers))
        numbers = (f"{seconds:.2f}", f"{online / seconds:.1f}x", f"{top_1:.2f} %", f"{top_1 - top_1_online:+.2f}")
        rows.add_row(name, *numbers, f"{(said == answers).mean():.1%}")
    return rows, extraction, train, test


def compare_heads(bench: Bench, extraction: float, train: Features, test: Features, rounds: int) -> Table:
    """A grid that is chosen from against one head; scikit-learn's logistic regression against torch's."""
    scale = Scaling.of(train.values)
    held = hold_out(train.labels, train.groups, 0.2, seed=0)
    known = LabelledFeatures(values=scale(train.values), labels=train.labels)
    task = Task(train=known, parts=held, test=scale(test.values), num_classes=len(bench.dataset.class_names))
    alone = replace(task, parts=HeldOut(fit=np.arange(len(known)), held=np.empty(0, dtype=np.int64)))
    grid, one = Linear(epochs=bench.epochs), Linear(epochs=bench.epochs, lrs=(0.1,), weight_decays=(0.0,))
    runs = {"one": lambda: fit_linear(one, alone, device=DEVICE), "grid": lambda: fit_linear(grid, task, device=DEVICE)}
    linear = take_turns(runs, rounds)
    sklearn, first = clocked(lambda: fit_logistic(Logistic(solver="sklearn"), task))
    torchs, second = clocked(lambda: fit_logistic(Logistic(solver="torch"), task, device=DEVICE))
    equal = (first.scores.argmax(axis=1) == second.scores.argmax(axis=1)).mean()
    rows = table("heads on stored features", "head", "s", "of the line above", "with extraction", "equal predictions")
    rows.add_row("one linear head, not chosen", f"{linear['one']:.3f}")
    both = (linear["grid"] / linear["one"], (extraction + linear["grid"]) / (extraction + linear["one"]))
    rows.add_row(f"grid of {len(grid.grid)}, one chosen", f"{linear['grid']:.3f}", *(f"{ratio:.2f}x" for ratio in both))
    rows.add_row(f"logistic, scikit-learn: {first.chosen.setting}", f"{sklearn:.3f}")
    ratio = f"{torchs / sklearn:.2f}x"
    rows.add_row(f"logistic, torch: {second.chosen.setting}", f"{torchs:.3f}", ratio, "", f"{equal:.2%}")
    return rows


def compare_steps(backbone: Backbone, recipe: Recipe, batch: int, precision: Precision, rounds: int) -> list[str]:
    """Rows of the table of fine-tuning steps: seconds fused and unfused, and their ratio."""
    clip, classes = backbone.clip_spec, 174
    recipe = replace(recipe, batch_size=batch, precision=precision)
    model = Classifier(backbone, classes, frozen=False, drop_path=recipe.drop_path).to(DEVICE)
    optimizer = classifier_optimizer(recipe, model.backbone, model.head)
    settings = ClassifierSettings(recipe=recipe, clip=clip, num_classes=classes, rank=Rank(device=DEVICE))
    seed = torch.Generator().manual_seed(0)
    noise = ClipBatch(
        clips=torch.randint(256, (batch, 3, clip.num_frames, clip.crop, clip.crop), generator=seed, dtype=torch.uint8),
        labels=torch.randint(classes, (batch,), generator=seed),
        ids=tuple(map(str, range(batch))),
        positions=tuple(range(batch)),
        seeds=tuple(range(batch)),
    )

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        backward(model, noise, 0, settings)
        optimizer.step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    def unfused_step() -> None:
        with unfused(model):
            step()

    best = take_turns({"unfused": unfused_step, "ours": step}, rounds)
    slow, fast = best["unfused"], best["ours"]
    return [backbone.variant, str(batch), f"{slow:.3f}", f"{fast:.3f}", f"{slow / fast:.2f}x"]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="tvts:scripted_motion_tiny")
    parser.add_argument("--clips", type=int, default=480, help="of each split")
    parser.add_argument("--epochs", type=int, default=50, help="of every linear head")
    parser.add_argument("--batch", type=int, default=2, help="of the base size's step; 0: leave that out")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the steps of fine-tuning")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="1: count processor time")
    parser.add_argument("--rounds", type=int, default=3, help="turns of heads and steps; the best counts")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console, backbone = Console(width=110), load_backbone(options.backbone)
    with tempfile.TemporaryDirectory() as folder:
        store = Runtime(device=DEVICE, workers=0 if options.threads == 1 else default_workers(), cache=Path(folder))
        warm = Bench(backbone=backbone, dataset=embedded(48), runtime=store, epochs=1)
        compare_probes(warm)  # imports, and the server that starts decoding processes
        bench = replace(warm, dataset=embedded(options.clips), epochs=options.epochs)
        rows, extraction, train, test = compare_probes(bench)
        console.print(rows)
        console.print(compare_heads(bench, extraction, train, test, options.rounds))
    columns = ("network", "batch", "unfused, s", "ours, s", "times as fast")
    steps = table(f"a step of fine-tuning, {options.precision}: forward, backward, optimiser", *columns)
    tiny, rest = preset("finetune", "scripted_motion-ssv2"), (options.precision, options.rounds)
    steps.add_row(*compare_steps(load_backbone("tvts:tiny"), tiny, tiny.batch_size, *rest))
    if options.batch:
        steps.add_row(*compare_steps(load_backbone("tvts:base"), preset("finetune", "ssv2"), options.batch, *rest))
    console.print(steps)


if __name__ == "__main__":
    main()
