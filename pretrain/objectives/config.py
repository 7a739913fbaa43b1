"""Which losses a run trains on. Every objective that the paper compares is a value of `ObjectiveConfig`."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from tvts_bench.config_fields import Option, check_fields
from tvts_bench.errors import UserError

SortModelling = Literal["none", "pairwise", "factorial", "k_way"]
SortTarget = Literal["transcript", "vcop", "merlot", "merlot_like"]
Balance = Literal["stated", "paper"]

# What a target is, not a matter of taste: VCOP classifies orders, MERLOT compares pairs, the others sort K segments.
MODELLINGS: dict[SortTarget, tuple[SortModelling, ...]] = {
    "transcript": ("none", "pairwise", "factorial", "k_way"),
    "vcop": ("factorial",),
    "merlot": ("pairwise",),
    "merlot_like": ("pairwise", "factorial", "k_way"),
}


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """The loss of a run: L = L_base + weight * L_sort. The defaults are TVTS (Zeng et al., CVPR 2023, section 3)."""

    align: Annotated[bool, Option("L_base: contrast of whole clips with whole transcripts.")] = True
    sort: Annotated[
        SortModelling, Option("How L_sort asks for the order (the paper's Table 3); 'none' switches it off.")
    ] = "k_way"
    target: Annotated[SortTarget, Option("What L_sort puts in order (Table 1); without L_sort it has no effect.")] = (
        "transcript"
    )
    stop_gradient: Annotated[bool, Option("Keep L_sort's gradient out of the text encoder ('sg', Table 2).")] = True
    weight: Annotated[float, Option("Lambda; sort=none trains without sorting.", above=0)] = 2.0
    temperature: Annotated[float, Option("Tau of L_base.", above=0)] = 0.05
    first_temperature: Annotated[
        float | None, Option("Tau at the first step, from which it falls geometrically; null: as all others.")
    ] = None
    anneal: Annotated[
        float, Option("Share of the run in which it falls; small networks leave chance so.", above=0, most=1)
    ] = 0.3
    segments: Annotated[int, Option("K, transcript segments of a clip; 6! = 720 orders.", least=2, most=6)] = 4
    balance: Annotated[
        Balance, Option("'paper': L_base / paper_ranks + weight * L_sort, what the official run optimised.")
    ] = "stated"
    paper_ranks: Annotated[
        int, Option("GPUs of the official run, each of which kept 1 / 32 of L_base's gradient.", least=1)
    ] = 32

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        check_fields(self)
        if self.first_temperature is not None and not self.temperature <= self.first_temperature < math.inf:
            raise UserError(
                f"first_temperature must be finite and at least temperature {self.temperature}, got "
                f"{self.first_temperature}"
            )
        if not self.sorts and not self.align:
            raise UserError("nothing to learn: align is off and sort is none; switch one of them on")
        if self.sorts and self.sort not in MODELLINGS[self.target]:
            there = ", ".join(MODELLINGS[self.target])
            raise UserError(f"target {self.target} goes with sort={there}, got sort={self.sort}")

    def at(self, share: float) -> "ObjectiveConfig":
        """The losses of a step with `share` (0..1) of the run behind it: with that step's temperature."""
        if self.first_temperature is None:
            return self
        left = max(1 - share / self.anneal, 0.0)
        return replace(self, temperature=self.temperature * (self.first_temperature / self.temperature) ** left)

    @property
    def sorts(self) -> bool:
        """Whether there is an L_sort."""
        return self.sort != "none"

    @property
    def sorts_video(self) -> bool:
        """Whether L_sort orders pieces of the video, not segments of the transcript."""
        return self.sorts and self.target != "transcript"

    @property
    def reads_text_to_sort(self) -> bool:
        """Whether L_sort looks at the transcript: all targets do but VCOP."""
        return self.sorts and self.target != "vcop"

    @property
    def base_weight(self) -> float:
        """The factor of L_base in the total."""
        return 1 / self.paper_ranks if self.balance == "paper" else 1.0
