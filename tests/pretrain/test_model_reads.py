"""What is read of a network's last layers is what is computed: equal values and gradients, at every objective."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pretrain.model import sorter, tvts
from pretrain.model.text import TextConfig, cls_tokens
from pretrain.model.tvts import TVTS, TVTSConfig
from pretrain.objectives.config import ObjectiveConfig
from pretrain.objectives.losses import step_loss
from tests.support.tiny_tvts import OBJECTIVES, TOKENIZER, VIDEO, inputs
from tvts_bench.models import vit
from tvts_bench.models.vit import VideoTransformer, VideoTransformerConfig, block_rows


@contextmanager
def computing_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All tokens of the last layers are computed, and those that are read picked out afterwards."""

    def all_rows(block: nn.Module, x: Tensor, rows: slice) -> Tensor:
        whole: Tensor = block(x)[:, rows]
        return whole

    def all_tokens(model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        whole: Tensor = model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]
        return whole

    with monkeypatch.context() as patched:
        patched.setattr(vit, "block_rows", all_rows)
        patched.setattr(sorter, "block_rows", all_rows)
        patched.setattr(tvts, "cls_tokens", all_tokens)
        yield


def loss_and_gradients(model: TVTS, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor | None]]:
    clips, ids, mask, segments = batch
    model.zero_grad()
    shown = model.present(len(clips), clips.shape[2], torch.Generator().manual_seed(1))
    torch.manual_seed(3)
    loss = step_loss(model(clips, ids, mask, segments, shown), segments, model.config.objective)["loss"]
    loss.backward()
    return loss.detach(), {name: parameter.grad for name, parameter in model.named_parameters()}


def same(model: TVTS, batch: tuple[Tensor, ...], whole: Callable[[], Any], tolerance: float) -> None:
    loss, gradients = loss_and_gradients(model, batch)
    with whole():
        expected, all_gradients = loss_and_gradients(model, batch)
    assert float(loss) == pytest.approx(float(expected), rel=tolerance)
    for name, gradient in all_gradients.items():
        found = gradients[name]
        if gradient is None or not gradient.any():  # DDP needs the same parameters to be reached
            assert (found is None) == (gradient is None), name
            continue
        assert found is not None, name
        assert float((found - gradient).norm()) <= tolerance * float(gradient.norm()) + 1e-12, name


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("stop", [True, False])
def test_every_objective(monkeypatch: pytest.MonkeyPatch, objective: dict[str, Any], align: bool, stop: bool) -> None:
    if not align and objective["sort"] == "none":
        return  # nothing to learn
    text = TextConfig(name=None, max_tokens=5, dim=8, depth=2, num_heads=2, dropout=0.0)
    config = TVTSConfig(
        video=VideoTransformerConfig(embed_dim=12, depth=2, num_heads=2, image_size=8, patch_size=2, num_frames=8),
        text=text,
        objective=ObjectiveConfig(segments=3, align=align, stop_gradient=stop, **objective),
        projection_dim=6,
        mask=0.5,
    )
    model = TVTS.seeded(config, TOKENIZER, 0).double().train()
    clips, ids, mask, segments = inputs()
    mask[1, 2, 3:] = 0  # a segment of fewer words
    mask[2, 2:], segments[2] = 0, 2  # a row of padding
    same(model, (clips.double(), ids, mask, segments), lambda: computing_all(monkeypatch), 1e-10)


def test_the_papers_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two blocks stand for its twelve; width, heads, tokens and texts are the paper's. In single precision."""
    config = TVTSConfig(
        video=VideoTransformerConfig(depth=2),
        text=TextConfig(name=None, dim=768, depth=2, num_heads=12, max_tokens=50, dropout=0.0),
    )
    model = TVTS.seeded(config, TOKENIZER, 0).train()
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(2, 3, 16, 224, 224, generator=generator)
    ids = torch.randint(4, len(TOKENIZER), (2, 4, 20), generator=generator)
    ids[..., 0] = 2
    batch = clips, ids, torch.ones_like(ids), torch.full((2,), 4)
    loss, gradients = loss_and_gradients(model, batch)
    with computing_all(monkeypatch):
        expected, all_gradients = loss_and_gradients(model, batch)
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    ours, theirs = (torch.cat([each.flatten() for each in some.values() if each is not None])
                    for some in (gradients, all_gradients))  # fmt: skip
    assert float((ours - theirs).norm()) <= 2e-6 * float(theirs.norm())


def test_dropout_draws_what_it_always_drew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the text encoder drops, its last layer is computed whole, so that no run takes another course."""
    text = TextConfig(name=None, max_tokens=5, dim=12, depth=2, num_heads=2, dropout=0.3)
    model = TVTS.seeded(TVTSConfig(video=VIDEO, text=text, objective=ObjectiveConfig(segments=3)), TOKENIZER, 0).train()
    batch = inputs()
    same(model, batch, lambda: computing_all(monkeypatch), 1e-6)
    again, _ = loss_and_gradients(model.eval(), batch)
    assert float(again) != float(loss_and_gradients(model.train(), batch)[0])


def test_stochastic_depth_draws_what_it_always_drew() -> None:
    """Samples whose last block is dropped are the same."""
    config = VideoTransformerConfig(
        embed_dim=12, depth=2, num_heads=2, image_size=8, patch_size=2, num_frames=8, drop_path=0.5
    )
    model = VideoTransformer.seeded(config, 0).double().train()
    clips = inputs()[0].double()
    torch.manual_seed(5)
    whole = model(clips)[:, 0]
    torch.manual_seed(5)
    torch.testing.assert_close(model.embed(clips), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rows", [slice(1), slice(3, None), slice(2, 5), slice(None)])
def test_rows_of_a_block(rows: slice) -> None:
    block = VideoTransformer.seeded(VIDEO, 3).blocks[0].double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 7, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    found, expected = block_rows(block, x, rows), block(x)[:, rows]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    gradients = [torch.autograd.grad(each.square().sum(), x, retain_graph=True)[0] for each in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("depth", [1, 3])
def test_cls_tokens_are_the_librarys(depth: int) -> None:
    text = TextConfig(name=None, max_tokens=5, dim=12, depth=depth, num_heads=2, dropout=0.1)
    config = TVTSConfig(video=VIDEO, text=text, objective=ObjectiveConfig(segments=3))
    model = TVTS.seeded(config, TOKENIZER, 0).eval().text_model
    names = [name for name, _ in model.named_parameters()]
    ids, mask = TOKENIZER(["one two three", "four", ""])
    found = cls_tokens(model, ids, mask)
    torch.testing.assert_close(found, model(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0])
    assert [name for name, _ in model.named_parameters()] == names  # nothing of it stays behind
    assert len(model.transformer.layer) == depth
