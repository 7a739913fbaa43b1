"""The paper's linear probe: a linear head on the frozen backbone, trained online on augmented clips (Table 4).

Every epoch decodes, varies and embeds every clip anew; the cached probe measures nearly the same for a fraction of it.
"""

from dataclasses import dataclass
from typing import ClassVar

from tvts_bench.evaluators.supervised import Supervised


@dataclass(frozen=True, kw_only=True)
class OnlineProbe(Supervised):
    """The protocol, by the recipe of the data set."""

    name: ClassVar[str] = "online_probe"
    task = "probe"
    condition = "linear, online"


DEFAULT = OnlineProbe()
