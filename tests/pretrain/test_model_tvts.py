"""TVTS as a whole: names, gradients, labels, what the encoder sees, and what each objective trains."""

from dataclasses import replace
from itertools import pairwise, permutations
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from pretrain.model.tvts import TVTS, TVTSConfig
from pretrain.objectives import ordering
from pretrain.objectives.config import ObjectiveConfig
from pretrain.objectives.losses import step_loss
from tests.support.tiny_tvts import OBJECTIVES, TEXT, TOKENIZER, VIDEO, inputs, model_for, run
from tvts_bench.errors import UserError
from tvts_bench.models.vit import VideoTransformerConfig


def test_the_base_model_has_the_official_names_and_sizes() -> None:
    from transformers import DistilBertConfig, DistilBertModel

    from tvts_bench.models.vit import VideoTransformer

    with torch.device("meta"):
        text = DistilBertModel(DistilBertConfig())
        model = TVTS(TVTSConfig(), VideoTransformer(VideoTransformerConfig()), text)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert {name.split(".")[0] for name in shapes} == {
        "video_model",
        "text_model",
        "vid_proj",
        "txt_proj",
        "pred_model",
    }
    assert shapes["vid_proj.0.weight"] == shapes["txt_proj.1.weight"] == (256, 768)
    assert sum(parameter.numel() for parameter in model.pred_model.parameters()) == 14_181_892
    assert sum(parameter.numel() for parameter in model.video_model.parameters()) == 86_394_624
    shown = model.present(2, 16, torch.Generator())
    assert shown.keep is not None
    assert shown.keep.shape == (2, 8 * 49)


def test_the_seed_alone_decides_and_the_global_state_is_kept() -> None:
    before = torch.random.get_rng_state()
    states = [model_for().state_dict() for _ in range(2)]
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    shown = [model_for(sort="factorial").present(4, 8, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(shown[0].order, shown[1].order)  # type: ignore[arg-type]
    assert not torch.equal(shown[0].keep, shown[2].keep)  # type: ignore[arg-type]


def test_embeddings_are_the_projected_cls_and_the_mean_over_real_segments_after_projection() -> None:
    model, (clips, ids, mask, _) = model_for().eval(), inputs()
    segments = torch.tensor([3, 1, 3, 1])
    mask[1, 1:] = mask[3, 1:] = 0
    shown = model.present(4, 8, torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = model(clips, ids, mask, segments, shown)
        for sample, real in enumerate(segments.tolist()):
            hidden = model.text_model(input_ids=ids[sample, :real], attention_mask=mask[sample, :real])
            cls = hidden.last_hidden_state[:, 0]
            projected = cls.clamp(min=0) @ model.txt_proj[1].weight.T + model.txt_proj[1].bias
            assert torch.allclose(output.text[sample], projected.mean(dim=0), atol=1e-6)
        video = model.vid_proj(model.video_model(clips, shown.keep)[:, 0])
    assert torch.allclose(output.video, video, atol=1e-6)
    assert output.sort_logits.isfinite().all()


def test_embeddings_for_search_see_everything() -> None:
    model, (clips, ids, mask, segments) = model_for().eval(), inputs()
    with torch.no_grad():
        everything = model(clips, ids, mask, segments, model.present(4, 8, torch.Generator(), mask=0.0))
        assert torch.allclose(model.embed_video(clips), everything.video, atol=1e-6)
        assert torch.equal(model.embed_text(ids, mask, segments), everything.text)


def test_shuffled_segments_give_permuted_logits_and_the_same_loss() -> None:
    """Why labels are 0..K-1 and nothing is shuffled: presenting segments in any order changes nothing."""
    model, (clips, ids, mask, segments) = model_for(align=False).double().eval(), inputs()
    clips = clips.double()
    shown = model.present(4, 8, torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = model(clips, ids, mask, segments, shown)
        expected = step_loss(plain, segments, model.config.objective)["sort"]
        for order in permutations(range(3)):
            shuffled = model(clips, ids[:, order], mask[:, order], segments, shown).sort_logits
            assert torch.allclose(shuffled, plain.sort_logits[:, order], atol=1e-10)
            loss = F.cross_entropy(shuffled.flatten(0, 1), torch.tensor(order).repeat(4))
            assert float(loss) == pytest.approx(float(expected), rel=1e-6)


def test_factorial_shows_segments_in_the_order_of_its_label() -> None:
    """Showing an order equals handing the segments over in that order."""
    model, (clips, ids, mask, segments) = model_for(sort="factorial").eval(), inputs()
    shown = model.present(4, 8, torch.Generator().manual_seed(0))
    assert shown.order is not None
    identity = replace(shown, order=torch.arange(3).expand(4, 3))
    index = shown.order[..., None].expand_as(ids)
    with torch.no_grad():
        expected = model(clips, ids.gather(1, index), mask, segments, identity)
        actual = model(clips, ids, mask, segments, shown)
    assert torch.allclose(actual.sort_logits, expected.sort_logits, atol=1e-6)
    assert torch.equal(actual.order, shown.order)


@pytest.mark.parametrize("objective", [{"sort": "factorial", "target": "vcop"}, {"target": "merlot_like"}])
def test_pieces_of_video_carry_nothing_of_their_place(objective: Any) -> None:
    """Swapping the first and last third of the video itself equals showing them swapped, or permutes the logits."""
    model, (clips, ids, mask, segments) = model_for(align=False, **objective).double().eval(), inputs()
    torch.nn.init.normal_(model.video_model.temporal_embed, generator=torch.Generator().manual_seed(0))
    clips = clips.double()[:, :, :6]  # three tubelets, so that pieces have no gaps
    swapped = torch.cat([clips[:, :, 4:], clips[:, :, 2:4], clips[:, :, :2]], dim=2)
    shown = model.present(4, 6, torch.Generator().manual_seed(0), mask=0.0)
    shown = replace(shown, order=None if shown.order is None else torch.arange(3).expand(4, 3))
    with torch.no_grad():
        plain = model(clips, ids, mask, segments, shown).sort_logits
        other = model(swapped, ids, mask, segments, shown).sort_logits
        if objective["target"] == "merlot_like":
            assert torch.allclose(other, plain[:, [2, 1, 0]], atol=1e-10)
        else:
            reverse = replace(shown, order=torch.tensor([2, 1, 0]).expand(4, 3))
            assert torch.allclose(other, model(clips, ids, mask, segments, reverse).sort_logits, atol=1e-10)
    assert not torch.allclose(other, plain, atol=1e-3)


@pytest.mark.parametrize("target", ["transcript", "merlot_like"])
def test_stop_gradient_keeps_the_sorting_loss_out_of_the_text_encoder(target: str) -> None:
    gradients = []
    for stop in (True, False):
        model, batch = model_for(target=target, stop_gradient=stop), inputs()
        logits = run(model, batch).sort_logits
        assert logits is not None
        ordering.sorting("k_way", logits, None).loss.mean().backward()  # L_sort alone
        assert all(parameter.requires_grad for parameter in model.text_model.parameters())
        found = [parameter.grad for parameter in model.text_model.parameters()]
        gradients.append(sum(float(grad.abs().sum()) for grad in found if grad is not None))
        assert any(parameter.grad.any() for parameter in model.video_model.parameters() if parameter.grad is not None)
    assert gradients[0] == 0
    assert gradients[1] > 0


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: "-".join(objective.values()))
@pytest.mark.parametrize("align", [True, False], ids=["align", "sort-only"])
def test_every_trainable_parameter_gets_a_gradient_whatever_the_batch(objective: Any, align: bool) -> None:
    """DistributedDataParallel waits for all of them, also where a rank's batch has nothing to sort."""
    if not align and objective["sort"] == "none":
        objective = {"sort": "k_way", "stop_gradient": False}
    model = model_for(align=align, **objective)
    clips, ids, mask, segments = inputs()
    for real in (segments, torch.ones_like(segments)):
        model.zero_grad()
        step_loss(run(model, (clips, ids, mask, real)), real, model.config.objective)["loss"].backward()
        without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert without == []


def test_what_an_objective_never_reaches_is_frozen() -> None:
    def frozen(**objective: Any) -> set[str]:
        parameters = model_for(**objective).named_parameters()
        return {name.split(".")[0] for name, parameter in parameters if not parameter.requires_grad}

    assert frozen() == set()
    assert frozen(align=False) == {"vid_proj", "txt_proj", "text_model"}
    assert frozen(align=False, stop_gradient=False) == {"vid_proj", "txt_proj"}
    assert frozen(align=False, sort="factorial", target="vcop", stop_gradient=False) == {
        "vid_proj",
        "txt_proj",
        "text_model",
    }
    assert not hasattr(model_for(sort="none"), "pred_model")


@pytest.mark.parametrize("segments", range(2, 7))
@pytest.mark.parametrize("modelling", ["k_way", "pairwise", "factorial"])
def test_every_number_of_segments(segments: int, modelling: str) -> None:
    model = model_for(sort=modelling, segments=segments)
    clips, ids, mask, _ = inputs(2)
    ids, mask = (rows[:, :1].expand(-1, segments, -1) for rows in (ids, mask))
    real = torch.full((2,), segments)
    loss = step_loss(run(model, (clips, ids, mask, real)), real, model.config.objective)
    assert loss["loss"].isfinite()


def test_text_of_another_width_gets_an_adapter() -> None:
    config = TVTSConfig(
        video=VIDEO, text=replace(TEXT, dim=8), objective=ObjectiveConfig(segments=3), projection_dim=6, mask=0.5
    )
    model = TVTS.seeded(config, TOKENIZER, seed=0)
    assert model.txt_adapter.weight.shape == (12, 8)
    assert run(model, inputs()).sort_logits.shape == (4, 3, 3)  # type: ignore[union-attr]
    assert not hasattr(model_for(), "txt_adapter")


def test_dropped_patches_are_not_computed() -> None:
    """Pixels of dropped patches may be anything."""
    model, (clips, ids, mask, segments) = model_for(), inputs()
    shown = model.present(4, 8, torch.Generator().manual_seed(0))
    assert shown.keep is not None
    tubelets = torch.full((4, 4 * 16), torch.nan).scatter(1, shown.keep, 1.0).reshape(4, 1, 4, 4, 4)
    holes = tubelets.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    with torch.no_grad():
        plain, holed = (model(pixels, ids, mask, segments, shown) for pixels in (clips, clips * holes))
    assert torch.equal(plain.sort_logits, holed.sort_logits)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mask": 1.0}, "mask 1.0"),
        ({"mask": 0.99}, "mask 0.99 leaves none of 16"),
        ({"sorter_heads": 5}, "12 is not a multiple of sorter_heads 5"),
        ({"projection_dim": 0}, "got 0"),
        ({"objective": ObjectiveConfig(target="merlot_like", segments=5)}, "sorts 5 pieces, but 8 frames make 4"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(options: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        TVTSConfig(**{"video": VIDEO, "text": TEXT} | options)


def test_clips_too_short_for_the_pieces_are_refused() -> None:
    model = model_for(target="merlot_like")
    with pytest.raises(UserError, match="clips of 4 frames make 2 tubelets"):
        model.present(2, 4, torch.Generator())


def test_masks_differ_between_clips_pieces_and_tubelets() -> None:
    shown = model_for(target="merlot_like").present(2, 8, torch.Generator().manual_seed(0))
    assert shown.keep is not None
    assert shown.piece_keep is not None
    assert shown.keep.shape == (2, 4 * 8)
    assert shown.piece_keep.shape == (2, 3, 8)  # 4 tubelets make 3 pieces of one
    choices = [tuple(sorted(row)) for row in shown.piece_keep.flatten(0, 1).tolist()]
    assert all(first != second for first, second in pairwise(choices))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: "-".join(objective.values()))
def test_mixed_precision_gives_nearly_the_same_loss(objective: Any) -> None:
    model, batch = model_for(**objective), inputs()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = run(model, batch)
    with torch.no_grad():
        plain = step_loss(run(model, batch), batch[3], model.config.objective)["loss"]
    assert float(step_loss(mixed, batch[3], model.config.objective)["loss"]) == pytest.approx(float(plain), rel=0.01)
