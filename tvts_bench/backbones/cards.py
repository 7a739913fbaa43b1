"""What is known of a family of backbones, in words: the list that `tvts-bench backbones` prints is made of it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FamilyCard:
    """What a family is, where its official weights are, and what they may be used for."""

    title: str  # as papers call it: "VideoMAE"
    what: str  # one sentence: how it is trained and what the network is
    weights: Mapping[str, str]  # official file -> its URL, or "no public file: ..." with the finding
    licence: str  # of the weights; where the code's is another, both
    supervised: str | None  # labels the weights were trained with ("K400 classes"); None: none
    input: str  # frames, pixels, sampling, normalisation
    representation: str  # which vector `forward` returns, and its width
    published: tuple[tuple[str, str], ...]  # rows of the paper's tables: ("table4", "SVT")
    reference: str  # authors and venue
    tensor_names: tuple[str, ...] = ()  # typical of official files ("blocks.0.attn.q_bias"): tell near misses by them
    shares_layout_with: tuple[str, ...] = ()  # families whose files cannot be told from these by tensor names
