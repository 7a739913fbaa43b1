"""A transformer block for some of its tokens: it attends to all of them and computes only those that are read."""

from timm.models.vision_transformer import Attention, Block  # type: ignore[attr-defined]  # Attention moves about
from torch import Tensor, nn
from torch.nn import functional as F


def block_rows(block: nn.Module, x: Tensor, rows: slice) -> Tensor:
    """Tokens `rows` of what timm's `block` makes of `x` [B, N, D]: `block(x)[:, rows]`, values and gradients.

    Keys and values come from all tokens; queries, projection and MLP are computed for `rows` alone.
    """
    assert isinstance(block, Block)
    attn = block.attn
    assert isinstance(attn, Attention)
    batch, tokens, dim = x.shape
    weight, bias = attn.qkv.weight, attn.qkv.bias
    normed = block.norm1(x)
    q = F.linear(normed[:, rows], weight[:dim], bias[:dim]).unflatten(-1, (attn.num_heads, -1)).transpose(1, 2)
    kv = F.linear(normed, weight[dim:], bias[dim:]).view(batch, tokens, 2, attn.num_heads, -1)
    k, v = kv.permute(2, 0, 3, 1, 4)  # [B, heads, N, D / heads] each
    attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # [B, R, D]
    read = x[:, rows] + block.drop_path1(attn.proj(attended))
    return read + block.drop_path2(block.mlp(block.norm2(read)))  # type: ignore[no-any-return]
