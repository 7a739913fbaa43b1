"""Fine-tuning: the backbone and a linear head, trained together on augmented clips (paper, Tables 5 and 7)."""

from dataclasses import dataclass
from typing import ClassVar

from tvts_bench.evaluators.supervised import Supervised


@dataclass(frozen=True, kw_only=True)
class Finetune(Supervised):
    """The protocol, by the recipe of the data set."""

    name: ClassVar[str] = "finetune"
    task = "finetune"
    condition = "fine-tuned"


DEFAULT = Finetune()
