"""How much a grid trains and measures, as data: `quick` for two cores, `full` for the preset as it ships.

What a scale sets gives way to --set, and both to what the grid itself varies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tvts_bench.ablations.grids import Settings, unknown

PROTOCOLS = ("retrieval", "probe", "finetune")
"""Commands of tvts-bench that a cell can run on its checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How long cells train, and how they are measured."""

    name: str
    preset: str  # of tvts-pretrain, unless another one is named
    settings: Settings = field(default_factory=dict)  # of tvts-pretrain, on top of the preset
    protocols: tuple[str, ...] = PROTOCOLS
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of tvts-bench, by protocol


QUICK = Scale(
    name="quick",
    preset="scripted_motion_mini",
    settings={
        "steps": "500",  # at about half a second of one core each
        "init.text_steps": "150",
        "validation.every": "0",
        "checkpoint.every_steps": "50",  # half a minute of work at most is lost to a kill
    },
    protocols=("retrieval", "probe"),
    options={"probe": ("--head", "linear")},
)

FULL = Scale(name="full", preset="scripted_motion_tiny")

SCALES = (QUICK, FULL)


def find_scale(name: str) -> Scale:
    """The scale of that name.

    Raises:
        UnknownCellError: there is none.
    """
    known = {scale.name: scale for scale in SCALES}
    if name not in known:
        raise unknown("preset of an ablation", name, known)
    return known[name]
