"""The tokenizer and the text encoder, small ones built here; nothing is fetched."""

import pickle
from pathlib import Path

import pytest
import torch

from pretrain.model.text import TextConfig, TextTokenizer, build_text_model
from tvts_bench.errors import UserError

CORPUS = ("The red ball moves left.", "The ball turns; a ball grows", "Don't stop")
SMALL = TextConfig(name=None, dim=16, depth=1, num_heads=2)


@pytest.fixture
def tokenizer() -> TextTokenizer:
    return TextTokenizer.from_corpus(CORPUS, max_tokens=6)


def test_ids_follow_frequency_then_the_alphabet_after_the_special_tokens(tokenizer: TextTokenizer) -> None:
    # ball 3, the 2, then once each in the order of their characters: ' . ; a don ...; special tokens take 0..3
    ids, mask = tokenizer(["ball the ' . ;"])
    assert ids.tolist() == [[2, 4, 5, 6, 7, 8]]
    assert mask.tolist() == [[1] * 6]
    again = TextTokenizer.from_corpus(reversed(CORPUS), max_tokens=6)
    assert torch.equal(again(CORPUS)[0], tokenizer(CORPUS)[0])


def test_padding_unknown_words_case_empty_text_and_length(tokenizer: TextTokenizer) -> None:
    ids, mask = tokenizer(["BALL zebra", "", "the the the the the the the the"])
    assert ids.tolist() == [[2, 4, 1, 0, 0, 0], [2, 0, 0, 0, 0, 0], [2, 5, 5, 5, 5, 5]]
    assert mask.sum(dim=1).tolist() == [3, 1, 6]
    assert tokenizer([])[0].shape == (0, 1)


def test_rare_words_are_left_out_and_length_counts_special_tokens() -> None:
    small = TextTokenizer.from_corpus(CORPUS, max_tokens=6, max_words=2)
    assert len(small) == 4 + 2
    assert small(["ball the red"])[0].tolist() == [[2, 4, 5, 1]]


def test_saved_tokenizer_loads_equal_and_can_be_pickled(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    for copy in (TextTokenizer.load(tmp_path / "tokenizer.json", 6), pickle.loads(pickle.dumps(tokenizer))):  # noqa: S301
        assert torch.equal(copy(CORPUS)[0], tokenizer(CORPUS)[0])
        assert len(copy) == len(tokenizer)


@pytest.mark.parametrize("content", ["", "{", '{"version": "1.0"}', None])
def test_a_damaged_or_missing_tokenizer_is_named(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=r"words\.json"):
        TextTokenizer.load(path, 6)


def test_a_corpus_without_words_is_refused() -> None:
    with pytest.raises(UserError, match="no words"):
        TextTokenizer.from_corpus(["", "  \n"], max_tokens=6)


def test_small_encoder_comes_from_the_seed_and_leaves_the_global_state(tokenizer: TextTokenizer) -> None:
    before = torch.random.get_rng_state()
    states = [build_text_model(SMALL, tokenizer, seed).state_dict() for seed in (3, 3, 4)]
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_encoder_and_tokenizer_come_back_from_a_folder(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    model = build_text_model(SMALL, tokenizer, seed=0)
    model.save_pretrained(tmp_path)
    tokenizer.save(tmp_path / "tokenizer.json")
    config = TextConfig(name=str(tmp_path), max_tokens=6)
    loaded_tokenizer = TextTokenizer.pretrained(str(tmp_path), 6)
    loaded = build_text_model(config, loaded_tokenizer, seed=1)
    ids, mask = loaded_tokenizer(CORPUS)
    with torch.no_grad():
        expected = model.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
        actual = loaded.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(actual, expected)


def test_an_incomplete_folder_is_refused_not_filled_at_random(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    build_text_model(SMALL, tokenizer, seed=0).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("transformer.layer.0.ffn.lin1.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 weights missing .* transformer.layer.0.ffn.lin1.weight"):
        build_text_model(TextConfig(name=str(tmp_path)), tokenizer, seed=0)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no weights"):
        build_text_model(TextConfig(name=str(tmp_path)), tokenizer, seed=0)


def test_without_a_network_one_sentence_names_the_folder_option(
    tokenizer: TextTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for attempt in (
        lambda: TextTokenizer.pretrained("nobody/has-this-model", 50),
        lambda: build_text_model(TextConfig(name="nobody/has-this-model"), tokenizer, seed=0),
    ):
        with pytest.raises(UserError, match="nobody/has-this-model") as caught:
            attempt()
        assert "set text.name to that folder" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["/no/such/folder", "./weights", "models/text/distilbert"])
def test_a_path_is_not_looked_for_on_the_hub(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(UserError, match=rf"there is no folder '{name}': download https://huggingface\.co/"):
        TextTokenizer.pretrained(name, 50)
    assert "asking the hub" not in caplog.text


def test_a_folder_that_is_something_else_is_refused(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="not a saved DistilBERT"):
        build_text_model(TextConfig(name=str(tmp_path)), tokenizer, seed=0)


def test_tokenizer_and_encoder_must_fit(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    build_text_model(SMALL, tokenizer, seed=0).save_pretrained(tmp_path)
    larger = TextTokenizer.from_corpus(["some other words beside these", *CORPUS], max_tokens=6)
    with pytest.raises(UserError, match=rf"{len(larger)} tokens.* embeds {len(tokenizer)}"):
        build_text_model(TextConfig(name=str(tmp_path), max_tokens=6), larger, seed=0)
    with pytest.raises(UserError, match=r"60.* has 50 positions"):
        build_text_model(TextConfig(name=str(tmp_path), max_tokens=60), tokenizer, seed=0)


@pytest.mark.parametrize(("field", "value"), [("dim", 10), ("depth", 0), ("dropout", 1.0), ("max_tokens", 0)])
def test_nonsense_sizes_are_refused_with_the_value(field: str, value: float) -> None:
    with pytest.raises(UserError, match=str(value)):
        TextConfig(**{"name": None, field: value})  # type: ignore[arg-type]
