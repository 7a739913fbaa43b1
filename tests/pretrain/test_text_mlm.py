"""A text encoder built here: its vocabulary, and masked-language modelling before training."""

from pathlib import Path

import pytest
import torch

from pretrain.assembly import build_model, build_sources, build_tokenizer
from pretrain.runs import begin
from pretrain.text_mlm import MaskedWords, hide_words, pretrain_text
from tests.support.tiny_run import tiny
from tvts_bench.errors import UserError


def test_encoders_can_go_from_one_kind_of_stories_to_the_other(tmp_path: Path) -> None:
    """The vocabulary is all that can be said, whatever the source tells."""
    kinds = ("data.sources.0.stories={undone_share: 0, topic_share: 0}", "data.sources.0.stories={chatter_share: 100}")
    rules = {
        build_tokenizer(each, build_sources(each, None)).rules for each in (tiny(tmp_path, kind)[0] for kind in kinds)
    }
    assert len(rules) == 1


def test_the_text_encoder_learns_the_transcripts_words(tmp_path: Path) -> None:
    config, _ = tiny(tmp_path, "init.text_steps=40", "init.text_batch=32", "text.dropout=0")
    sources = build_sources(config, None)
    tokenizer = build_tokenizer(config, sources)
    losses = []
    for steps in (2, 60):
        model = build_model(config, tokenizer)
        losses.append(pretrain_text(model.text_model, tokenizer, sources, config, steps, "cpu"))
    assert losses[1] < losses[0] - 0.5


def test_a_batch_without_a_hidden_word_is_no_nan(tmp_path: Path) -> None:
    config, _ = tiny(tmp_path, "text.dropout=0")
    sources = build_sources(config, None)
    tokenizer = build_tokenizer(config, sources)
    guess = MaskedWords(build_model(config, tokenizer).text_model, len(tokenizer))
    ids, mask = tokenizer(["left right"])
    loss = guess(ids, mask, ids, torch.zeros_like(mask, dtype=torch.bool))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in guess.text_model.parameters() if p.grad is not None)


def test_a_trained_text_encoder_is_not_pretrained_again(tmp_path: Path) -> None:
    begin(*tiny(tmp_path / "first", "steps=1"))
    earlier = f"init.checkpoint={tmp_path / 'first/run/checkpoints/last.pt'}"
    with pytest.raises(UserError, match=r"init\.text_steps=2 would train anew"):
        begin(*tiny(tmp_path / "second", earlier, "init.text_steps=2"))
    begin(*tiny(tmp_path / "third", earlier, "steps=1"))


def test_hidden_words_are_asked_for_and_padding_never() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(4, 50, (200, 20), generator=generator)
    ids[:, 0] = 2  # [CLS]
    mask = torch.ones_like(ids)
    ids[:, 15:], mask[:, 15:] = 0, 0
    shown, asked = hide_words(ids, mask, 50, generator)
    assert not asked[:, 0].any()
    assert not asked[:, 15:].any()
    assert float(asked[:, 1:15].float().mean()) == pytest.approx(0.15, abs=0.02)
    assert torch.equal(shown[~asked], ids[~asked])
    assert float((shown[asked] == 3).float().mean()) == pytest.approx(0.8, abs=0.05)
