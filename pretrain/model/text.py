"""The text side: a DistilBERT, pretrained (from the hub or a folder) or small and built here, and its tokenizer.

The representation of a segment is the last hidden state at [CLS] (the first token).
"""

import copy
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Annotated, Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from tvts_bench import torchvision_ops as torchvision_ops  # before transformers, which imports torchvision
from tvts_bench.atomic import whole_file
from tvts_bench.config_fields import Option, check_fields
from tvts_bench.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[MASK]")  # ids 0..3 of a vocabulary built here; BERT's has the same names
_KNOWN = 20_000  # texts whose tokens are remembered
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_WAY_OUT = (
    "download https://huggingface.co/distilbert/distilbert-base-uncased where there is a network (config.json, "
    "tokenizer.json, model.safetensors) and set text.name to that folder, or set text.name=null to train a small "
    "encoder from scratch"
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Which text encoder. The default is the paper's."""

    name: Annotated[str | None, Option("On the hub, or a folder; null builds one from the sizes below.")] = (
        "distilbert-base-uncased"
    )
    max_tokens: Annotated[int, Option("Longer segments are cut; the paper's value.", least=1, most=8_192)] = 50
    dim: Annotated[int, Option("The sizes are used only where name is null.", least=1, most=65_536)] = 128
    depth: Annotated[int, Option("Blocks.", least=1, most=1_000)] = 2
    num_heads: Annotated[int, Option("Heads of attention.", least=1)] = 4
    mlp_ratio: Annotated[int, Option("Hidden width of a block's MLP / dim.", least=1, most=64)] = 4
    dropout: Annotated[float, Option("Of hidden states and attention, in training.", least=0, below=1)] = 0.1
    lr_scale: Annotated[
        float,
        Option("Its learning rate as a share of optim.lr; a small encoder forgets its start at the full one.", above=0),
    ] = 1.0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        check_fields(self)
        if self.dim % self.num_heads:
            raise UserError(f"dim must be a multiple of num_heads, got {self.dim} and {self.num_heads}")


class TextTokenizer:
    """Text to token ids, [CLS] first. Small to pickle, so that loader workers can hold one; needs no transformers."""

    def __init__(self, backend: "Tokenizer", max_tokens: int) -> None:
        missing = [token for token in ("[PAD]", "[CLS]") if backend.token_to_id(token) is None]
        if missing:
            raise UserError(f"the tokenizer has no {' and no '.join(missing)}: it is not of the BERT family")
        backend.no_padding()
        backend.enable_truncation(max_tokens)
        self._backend = backend
        self._known: dict[str, list[int]] = {}
        self.max_tokens = max_tokens
        self.pad_id = int(backend.token_to_id("[PAD]") or 0)

    @classmethod
    def from_corpus(cls, texts: Iterable[str], max_tokens: int, max_words: int = 30_000) -> Self:
        """A word-level tokenizer of the words of `texts`, lower-cased; punctuation marks are words of their own.

        Ids follow frequency, then the alphabet, so the same corpus in any order gives the same vocabulary.

        Args:
            texts: the corpus.
            max_tokens: longer texts are cut.
            max_words: of the vocabulary, the most frequent ones.

        Raises:
            UserError: there is not a single word.
        """
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

        normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
        splitter = pre_tokenizers.Whitespace()
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)))
        if not counts:
            raise UserError("the transcripts hold no words to build a vocabulary from")
        words = sorted(counts, key=lambda word: (-counts[word], word))[:max_words]
        vocabulary = {token: i for i, token in enumerate((*SPECIAL, *words))}
        backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
        backend.normalizer = normalizer
        backend.pre_tokenizer = splitter
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A", special_tokens=[("[CLS]", vocabulary["[CLS]"])]
        )
        backend.add_special_tokens(list(SPECIAL))
        return cls(backend, max_tokens)

    @classmethod
    def pretrained(cls, name: str, max_tokens: int) -> Self:
        """The tokenizer that belongs to the encoder `name`, a folder or a name on the hub.

        Raises:
            UserError: it cannot be had; the sentence says how to bring it.
        """
        folder = Path(name)
        if (folder / "tokenizer.json").is_file():
            return cls.load(folder / "tokenizer.json", max_tokens)
        from transformers import AutoTokenizer

        loaded = _from_hub_or_folder(AutoTokenizer.from_pretrained, name)
        return cls(loaded.backend_tokenizer, max_tokens)

    @classmethod
    def load(cls, path: Path, max_tokens: int) -> Self:
        """What `save` wrote, or any `tokenizer.json` of the BERT family.

        Raises:
            UserError: missing or damaged.
        """
        from tokenizers import Tokenizer

        if not path.is_file():
            raise UserError(f"there is no tokenizer {path}")
        try:
            return cls(Tokenizer.from_file(str(path)), max_tokens)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        except Exception as error:  # noqa: BLE001  (tokenizers raises bare Exception)
            raise UserError(f"{path} is not a tokenizer ({error})") from None

    def save(self, path: Path) -> None:
        """Write the vocabulary and all rules as one JSON file, in the layout that transformers reads too."""
        with whole_file(path) as file:
            file.write(self.rules.encode())

    @property
    def rules(self) -> str:
        """The vocabulary and all rules, as JSON."""
        return self._backend.to_str(pretty=True)

    def __len__(self) -> int:
        return int(self._backend.get_vocab_size())

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask, int64 [N, L] each; L is the longest text's tokens. A text without words is [CLS] alone."""
        tokens = [self._ids(text) for text in texts]
        longest = max(map(len, tokens), default=1)
        padded = [[*row, *[self.pad_id] * (longest - len(row))] for row in tokens]
        lengths = torch.tensor([len(row) for row in tokens])
        ids = torch.tensor(padded, dtype=torch.int64).reshape(len(tokens), longest)
        return ids, (torch.arange(longest) < lengths[:, None]).long()

    def _ids(self, text: str) -> list[int]:
        """Tokens of a text; the same few hundred sentences are most of what small worlds say."""
        if text not in self._known:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            # One by one: the library's own batching starts threads, which loader workers must not inherit.
            self._known[text] = self._backend.encode(text).ids
        return self._known[text]


def build_text_model(config: TextConfig, tokenizer: TextTokenizer, seed: int) -> Any:
    """A `transformers.DistilBertModel` with pretrained weights or drawn; the global random state is left as it was.

    Args:
        config: which.
        tokenizer: that it must go with.
        seed: of weights that are drawn.

    Raises:
        UserError: weights that cannot be had, are incomplete, or do not go with the tokenizer.
    """
    from transformers import DistilBertConfig, DistilBertModel

    if config.name is not None:
        model = _pretrained_model(config.name)
    else:
        sizes = DistilBertConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=config.max_tokens,
            dim=config.dim,
            n_layers=config.depth,
            n_heads=config.num_heads,
            hidden_dim=config.dim * config.mlp_ratio,
            dropout=config.dropout,
            attention_dropout=config.dropout,
            # 0.02 is made for 768 dimensions; in a small encoder [CLS] would hardly depend on the words.
            initializer_range=config.dim**-0.5,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = DistilBertModel(sizes)
    _check_fit(model, tokenizer, config)
    return model


def _pretrained_model(name: str) -> Any:
    """DistilBERT's encoder from the hub or a folder, with every weight of it there."""
    from transformers import DistilBertModel

    folder = Path(name)
    if folder.is_dir() and not any((folder / file).is_file() for file in WEIGHT_FILES):
        raise UserError(f"the folder {name} holds no weights: it needs config.json and {' or '.join(WEIGHT_FILES)}")
    model, report = _from_hub_or_folder(DistilBertModel.from_pretrained, name, output_loading_info=True)
    missing = sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))
    if missing:
        raise UserError(f"{name} is not a DistilBERT: {len(missing)} weights missing or misshapen, as {missing[0]}")
    return model.float()


def _from_hub_or_folder(load: Any, name: str, **options: Any) -> Any:
    """`load(name)`, from what is on this machine if it is there, else from the hub."""
    from huggingface_hub.utils import logging as hub
    from safetensors import SafetensorError

    folder = Path(name)
    try:
        return load(name, local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError, UnpicklingError, SafetensorError) as error:
        if folder.is_dir():
            raise UserError(f"the folder {name} is not a saved DistilBERT ({_first_line(error)})") from None
    if folder.is_absolute() or name.startswith(".") or len(folder.parts) > 2:  # the hub's are NAME or OWNER/NAME
        raise UserError(f"there is no folder {name!r}: {_WAY_OUT}")
    logger.warning("%s is not on this machine: asking the hub, which can take a minute", name)
    hub.set_verbosity_error()  # its five retries are ten lines; what came of them is in the message below
    try:
        return load(name, **options)
    except (OSError, ValueError) as error:
        raise UserError(
            f"there is no folder {name!r} and the hub did not give it ({_first_line(error)}): {_WAY_OUT}"
        ) from None


def _check_fit(model: Any, tokenizer: TextTokenizer, config: TextConfig) -> None:
    """Refuse a tokenizer whose ids or lengths the encoder cannot embed."""
    sizes = model.config
    if len(tokenizer) > sizes.vocab_size:
        raise UserError(f"the tokenizer has {len(tokenizer)} tokens, the text encoder embeds {sizes.vocab_size}")
    if config.max_tokens > sizes.max_position_embeddings:
        raise UserError(
            f"max_tokens is {config.max_tokens}, the text encoder has {sizes.max_position_embeddings} positions"
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def cls_tokens(model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """`model(...).last_hidden_state[:, 0]`; values and gradients are the same.

    What only other tokens would need is left out: the last layer is computed for [CLS] alone. Dropout that is at work
    draws for every token, and draws for fewer would be others: then all are computed.

    Args:
        model: a DistilBERT.
        input_ids: int64 [N, L].
        attention_mask: int64 [N, L].

    Returns:
        [N, D].
    """
    drops = model.training and (model.config.dropout or model.config.attention_dropout)
    if drops or model.config._attn_implementation not in ("sdpa", "eager"):
        return model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state[:, 0]  # type: ignore[no-any-return]
    hidden = _without_last_layer(model)(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    return _last_layer(model.transformer.layer[-1], hidden, attention_mask)


def _without_last_layer(model: Any) -> Any:
    """The same model, with all its parameters shared, that ends one layer earlier."""
    front, encoder = copy.copy(model), copy.copy(model.transformer)
    encoder._modules = {**encoder._modules, "layer": encoder.layer[:-1]}
    front._modules = {**front._modules, "transformer": encoder}
    return front


def _last_layer(layer: Any, hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """[CLS] after `layer`, [N, D], of hidden states [N, L, D]; by the names that DistilBERT's weights have."""
    attention, heads = layer.attention, (layer.attention.n_heads, -1)
    query = attention.q_lin(hidden[:, :1]).unflatten(-1, heads).transpose(1, 2)  # [N, heads, 1, D / heads]
    key = attention.k_lin(hidden).unflatten(-1, heads).transpose(1, 2)
    value = attention.v_lin(hidden).unflatten(-1, heads).transpose(1, 2)
    read = F.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask[:, None, None].bool())
    attended = layer.sa_layer_norm(attention.out_lin(read.transpose(1, 2).flatten(2))[:, 0] + hidden[:, 0])
    ffn = layer.ffn
    return layer.output_layer_norm(ffn.lin2(ffn.activation(ffn.lin1(attended))) + attended)  # type: ignore[no-any-return]
