"""How much a grid trains and measures: `quick` and `standard` for two cores, `full` for the preset as it ships.

`quick` is the first seed of `standard`, of which it trains the same cells.

What a scale sets gives way to --set, and both to what the grid itself varies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
    seeds: int = 1  # runs of every row, where --seeds does not say
    starts: int = 0  # common starts that the seeds take in turn, 0, 1, ..., with the scale's own preset; 0: none


QUICK = Scale(
    name="quick",
    preset="scripted_motion_quick",
    settings={"checkpoint.every_steps": "100"},  # ten seconds of work at most are lost to a kill
    protocols=("retrieval", "probe"),
    options={"probe": ("--head", "linear")},
    starts=3,
)

STANDARD = replace(QUICK, name="standard", seeds=5)

FULL = Scale(name="full", preset="scripted_motion_tiny")

SCALES = (QUICK, STANDARD, FULL)


def find_scale(name: str) -> Scale:
    """The scale of that name.

    Raises:
        UnknownCellError: there is none.
    """
    known = {scale.name: scale for scale in SCALES}
    if name not in known:
        raise unknown("preset of an ablation", name, known)
    return known[name]
