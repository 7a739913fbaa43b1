"""The tests that every family of backbones must pass, for packages that bring one: `check_family("my_net")`.

    import pytest
    from tvts_bench.testing import CHECKS

    @pytest.mark.parametrize("check", CHECKS)
    def test_my_net(check):
        check("my_net")

Each takes a family, or a variant of it ("my_net:tiny": a small one keeps the tests fast); it fails by `AssertionError`.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor

from tvts_bench import registry
from tvts_bench.backbones.base import Backbone, as_embedding, tensors_sha256
from tvts_bench.backbones.detect import CheckpointSignature, family
from tvts_bench.backbones.loading import load_backbone
from tvts_bench.backbones.model_cards import ModelCard
from tvts_bench.errors import UserError

Answer = TypeVar("Answer")

OTHER_CLIPS: tuple[dict[str, Any], ...] = ({"num_frames": 6}, {"short_side": 64, "crop": 48})
LARGEST_CROP = 64  # pixels; larger networks take too long to be tried on other clips
OF_NOBODY: tuple[dict[str, tuple[int, ...]], ...] = (
    {},
    {"weight": (8, 8)},
    {"embeddings.word_embeddings.weight": (9, 8), "transformer.layer.0.attention.q_lin.weight": (8, 8)},
)


@cache
def _backbone(name: str) -> Backbone:
    """The backbone, randomly initialised; for checks that leave it as it is."""
    return load_backbone(name)


def clips_of(backbone: Backbone, count: int = 1) -> Tensor:
    """Clips of noise as the backbone takes them, [count, 3, T, H, W], always the same."""
    spec = backbone.clip_spec
    shape = (count, 3, spec.num_frames, spec.crop, spec.crop)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def answer_or_refusal(call: Callable[[], Answer], refusal: str) -> Answer | None:
    """What `call` returns, or None where it is refused by a UserError that says `refusal`."""
    try:
        return call()
    except UserError as error:
        if refusal not in str(error):
            raise
        return None


def check_card(name: str) -> None:
    """What is known of the family is there, in single lines."""
    declared = family(name.partition(":")[0])
    assert isinstance(declared.card, ModelCard)
    for field in fields(ModelCard):
        value = getattr(declared.card, field.name)
        if field.type == "str" or isinstance(value, str):
            assert value.strip(), field.name
            assert value == value.strip()
            assert "\n" not in value
    for file, address in declared.card.weights.items():
        assert file
        assert address.startswith("http") or " " in address, "an address, or a sentence that says why there is none"
    assert len(set(declared.variants)) == len(declared.variants) > 0
    assert set(declared.card.shares_layout_with) <= set(registry.names("backbones")) - {name.partition(":")[0]}


def check_embedding(name: str) -> None:
    """A clip becomes one finite vector, whatever the batch that it is in."""
    backbone = _backbone(name)
    clips = clips_of(backbone, 2)
    with torch.inference_mode():
        both, one = as_embedding(backbone(clips), backbone, 2), backbone(clips[1:])
    assert both.dtype == torch.float32
    assert bool(torch.isfinite(both).all())
    torch.testing.assert_close(both[1:], one)
    assert f"{backbone.family}:{backbone.variant}".startswith(name)
    assert backbone.variant in family(backbone.family).variants
    assert len(backbone.weights.sha256) == 64
    assert not backbone.training
    assert backbone.adaptations(backbone.clip_spec) == ()


def check_seed(name: str) -> None:
    """A seed alone decides random weights, and nothing else changes."""
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = load_backbone(name, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again, other = load_backbone(name, seed=4), _backbone(name)
    assert first.weights == again.weights
    assert tensors_sha256(first) == tensors_sha256(again)
    if list(first.parameters()):
        assert first.weights.name == "random init (seed 4)"
        assert first.weights.sha256 != other.weights.sha256
        assert tensors_sha256(first) != tensors_sha256(other)


def check_tokens_and_layers(name: str) -> None:
    """Patch tokens and depths of parameters are there, or refused."""
    backbone = _backbone(name)
    with torch.inference_mode():
        tokens = answer_or_refusal(lambda: backbone.tokens(clips_of(backbone)), "has no patch tokens")
    if tokens is not None:
        assert tokens.shape[::2] == (1, backbone.embed_dim)
        assert tokens.shape[1] > 1
    names = [name for name, _ in backbone.named_parameters()]
    layers = answer_or_refusal(lambda: {backbone.layer_of(name) for name in names}, "has no layers to decay")
    if layers is not None:
        assert layers == set(range(max(layers, default=-1) + 1))  # from the stem up, none left out


def check_other_clips(name: str) -> None:
    """Clips of another length or resolution are taken, with notes on what that changes, or refused with the way out."""
    backbone = _backbone(name)
    if backbone.clip_spec.crop > LARGEST_CROP:  # no small network in this family
        return
    for changes in OTHER_CLIPS:
        clip = replace(backbone.clip_spec, **changes)
        notes = answer_or_refusal(lambda clip=clip: backbone.adaptations(clip), "")  # type: ignore[misc]
        if notes is not None:
            assert all(note.strip() == note and "\n" not in note for note in notes)
            with torch.inference_mode():
                as_embedding(backbone(torch.zeros(1, 3, clip.num_frames, clip.crop, clip.crop)), backbone, 1)


def check_signatures(name: str) -> None:
    """Files of something else are not taken for the family's."""
    for shapes in OF_NOBODY:
        assert not family(name.partition(":")[0]).matches(CheckpointSignature(container="model", shapes=shapes))


CHECKS = (check_card, check_embedding, check_seed, check_tokens_and_layers, check_other_clips, check_signatures)


def check_family(name: str) -> None:
    """All of `CHECKS`; `name` may be a variant ("my_net:tiny")."""
    for check in CHECKS:
        check(name)
