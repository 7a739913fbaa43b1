"""What the online probe and fine-tuning share: train a classifier by a recipe, test it on several views of a clip."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from tvts_bench.backbones.base import Backbone
from tvts_bench.datasets.base import Dataset
from tvts_bench.evaluators.base import Outcome
from tvts_bench.evaluators.supervised_run import SupervisedRun
from tvts_bench.evaluators.train_and_test import TRAIN
from tvts_bench.runtime import Runtime
from tvts_bench.training.presets import Task, preset
from tvts_bench.training.recipes import Recipe
from tvts_bench.video.spec import ClipSpec


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
    def splits(self) -> tuple[str, ...]:
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

        Raises:
            EvaluationError: the splits do not go together (see `train_and_test`), nothing can be held out, or a clip
                cannot be read and `runtime.strict` is set.
            StoppedError: SIGTERM, Ctrl-C or SIGHUP; `runtime.resume` goes on.
            UserError: the kinds of `train_classifier`.
        """
        resolved = self.resolve(backbone, dataset)
        assert resolved.recipe is not None
        assert resolved.train_split is not None
        assert resolved.split is not None
        assert resolved.clip is not None
        run = SupervisedRun(
            recipe=resolved.recipe,
            clip=resolved.clip,
            decoder=resolved.decoder,
            splits=(resolved.train_split, resolved.split),
            frozen=self.task == "probe",
            allow_shared_clips=self.allow_shared_clips,
        )
        return run.measure(backbone, dataset, runtime, self.condition)
