"""Says what a file of another architecture probably is, so that a refusal can name it."""

from collections.abc import Iterable

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


def looks_like(names: Iterable[str]) -> str | None:
    """What kind of network has tensors of these names, in words; None if nothing tells."""
    names = tuple(names)
    return next((kind for trace, kind in TRACES if any(trace in name for name in names)), None)


def description(names: Iterable[str]) -> str:
    """The end of a sentence about a file that does not fit: what it looks like and how its tensors are called."""
    names = tuple(names)
    kind = looks_like(names)
    return f"{f'it looks like {kind}; ' if kind else ''}its tensors are called {', '.join(names[:3])} and so on"
