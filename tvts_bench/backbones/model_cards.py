"""What is known of backbones, in words: the list that `tvts-bench backbones` prints is made of it.

Systems of the paper's tables without public weights are here, too, so that nobody searches for them again.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelCard:
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


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """A system that the tables quote and nothing here can load."""

    name: str
    finding: str  # what a search for its weights found
    published: tuple[tuple[str, str], ...]  # rows of the paper's tables: ("table4", "CVRL")


_NONE_FOUND = "no official code or weights were found by a search, which proves little"
_OWN_RUN = "pretrained on YT-Temporal by the authors of TVTS themselves, who did not release it"
_PRETEXT = (
    "a pretext task that the authors of TVTS trained in their own framework; a grid of `tvts-bench ablate` is ours"
)

UNAVAILABLE = (
    Unavailable(
        name="CVRL",
        finding="the official weights (R3D-50, Apache-2.0, github.com/tensorflow/models) are TensorFlow checkpoints and"
        " need TensorFlow to be converted; the table's row is probably of another network, quoted from SCVRL's paper",
        published=(("table4", "CVRL"),),
    ),
    Unavailable(
        name="SCVRL",
        finding="no code and no weights were found (arXiv 2205.11710)",
        published=(("table4", "SCVRL"),),
    ),
    Unavailable(name="SVT (YT-Temporal)", finding=_OWN_RUN, published=(("table4", "SVT (YT-Temporal)"),)),
    Unavailable(
        name="VideoMAE (YT-Temporal)",
        finding=_OWN_RUN,
        published=tuple((table, "VideoMAE (YT-Temporal)") for table in ("table4", "table5", "table7")),
    ),
    Unavailable(name="CORP", finding=_NONE_FOUND, published=(("table5", "CORP"),)),
    Unavailable(name="Vi2CLR", finding=_NONE_FOUND, published=(("table5", "Vi2CLR"), ("table7", "Vi2CLR"))),
    Unavailable(
        name="RSANet",
        finding="the README of github.com/KimManjin/RSA (no licence) names a file that the repository does not have",
        published=(("table5", "RSANet"),),
    ),
    Unavailable(name="OmniVL", finding="no code and no weights were found", published=(("table5", "OmniVL"),)),
    Unavailable(
        name="BE",
        finding="the links to weights in the README of github.com/FingerRec/BE (no licence) are empty",
        published=(("table7", "BE"),),
    ),
    *(
        Unavailable(name=name, finding=_NONE_FOUND, published=(("table7", name),))
        for name in ("CMD", "ASCNet", "TEC", "LSFD", "MCN")
    ),
    Unavailable(name="Baseline (Table 1)", finding=_PRETEXT, published=(("table1", "Baseline"),)),
    *(
        Unavailable(name=name, finding=_PRETEXT, published=(("table1", name),))
        for name in ("VCOP", "MERLOT", "MERLOT-like")
    ),
)
