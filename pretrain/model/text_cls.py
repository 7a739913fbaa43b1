"""[CLS] of a DistilBERT without what only other tokens would need: its last layer is computed for [CLS] alone."""

import copy
from typing import Any

from torch import Tensor
from torch.nn import functional as F


def cls_tokens(model: Any, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """`model(...).last_hidden_state[:, 0]`, [N, D], of ids and mask int64 [N, L]; values and gradients are the same.

    Dropout that is at work draws for every token, and draws for fewer would be others: then all are computed.
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
