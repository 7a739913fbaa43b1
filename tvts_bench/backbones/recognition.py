"""Which family a file of weights is of, told from its tensors' names and shapes; and what it may be where none is."""

import logging
import re
from collections.abc import Iterable, Mapping

from tvts_bench import registry
from tvts_bench.backbones.base import BackbonePlugin
from tvts_bench.backbones.families import families
from tvts_bench.backbones.layout import Layout
from tvts_bench.models.checkpoint import Checkpoint, CheckpointMismatchError, listed

logger = logging.getLogger(__name__)

NEAREST = 3  # families named for a file that is of none
# Parts of tensor names that only one kind of network has, the most telling first.
TRACES = (
    ("timeattn.", "a network with divided space-time attention (Frozen, MILES or TVTSv2)"),
    ("temporal_attn.", "a TimeSformer"),
    ("encoder_to_decoder.", "a VideoMAE, pretrained"),
    ("attn.q_bias", "a VideoMAE, fine-tuned"),
    ("decoder_blocks.", "an image MAE, pretrained"),
    ("visual.transformer.resblocks.", "a CLIP"),
    ("vision_model.", "a vision-language model of the transformers library"),
    ("transformer.layer.", "a text model"),
    ("layer1.0.conv1.", "a ResNet"),
    ("s1.pathway", "a SlowFast network"),
    ("blocks.0.attn.qkv.", "a vision transformer"),
)


def recognised(checkpoint: Checkpoint) -> str:
    """Name of the one family that the file is of.

    Raises:
        CheckpointMismatchError: of none, with the nearest; or of several, with the way to choose.
    """
    usable, problems = families()
    for problem in problems:
        logger.warning("%s", problem)
    layout = Layout.of(checkpoint)
    found = candidates(layout, usable)
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointMismatchError(
            f"{checkpoint.path} may be of several backbones ({', '.join(found)}), whose tensors have the same names:"
            f" say which with --backbone {' or --backbone '.join(found)}"
        )
    near = nearest(layout.shapes, usable)
    raise CheckpointMismatchError(
        f"{checkpoint.path} is of no known backbone: {description(layout.shapes)}; "
        + (f"nearest are {', '.join(near)}" if near else f"known are {', '.join(usable)}")
        + "; --backbone NAME says what of it does not fit"
    )


def candidates(layout: Layout, usable: Mapping[str, BackbonePlugin]) -> list[str]:
    """Names of the families that say a file of this layout is theirs."""
    found = []
    for name, plugin in usable.items():
        try:
            if plugin.recognises(layout):
                found.append(name)
        except (Exception, SystemExit) as error:
            if registry.is_own("backbones", name):
                raise
            logger.warning("backbone %s of another package fails at this file (%r)", name, error)
    specific = [name for name in found if not getattr(usable[name], "FALLBACK", False)]
    return specific or found


def nearest(names: Iterable[str], usable: Mapping[str, BackbonePlugin]) -> list[str]:
    """Families of whose typical tensor names the file has at least half, the nearest first: "svt (3 of 4 names)"."""
    there = {_numberless(name) for name in names}
    shares = []
    for name, plugin in usable.items():
        typical = {_numberless(each) for each in plugin.CARD.tensor_names}
        seen = sum(any(f".{other}".endswith(f".{each}") for other in there) for each in typical)
        if typical and 2 * seen >= len(typical):
            shares.append((seen / len(typical), f"{name} ({seen} of {len(typical)} typical names)"))
    return [said for _, said in sorted(shares, key=lambda share: -share[0])[:NEAREST]]


def looks_like(names: Iterable[str]) -> str | None:
    """What kind of network has tensors of these names, in words; None if nothing tells."""
    names = tuple(names)
    return next((kind for trace, kind in TRACES if any(trace in name for name in names)), None)


def description(names: Iterable[str]) -> str:
    """A clause about a file that does not fit: what it looks like and how its tensors are called."""
    names = tuple(names)
    kind = looks_like(names)
    called = listed(names[:3]) + (" and so on" if len(names) > 3 else "")
    return f"{f'it looks like {kind}; ' if kind else ''}its tensors are called {called}"


def _numberless(name: str) -> str:
    """`name` with # for each number, so that all blocks are one."""
    return re.sub(r"\b\d+\b", "#", name)
