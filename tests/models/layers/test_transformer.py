"""Transformer blocks: rates, attention, initialisation."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fedward_models.layers.transformer import initialise, transformer_blocks


def block_slowly(block: nn.Module, tokens: Tensor, *, heads: int) -> Tensor:
    """Pre-norm attention and a two-layer network, written out (Dosovitskiy et al., Eq. 2 and 3)."""
    p = dict(block.named_parameters())
    width = tokens.shape[-1]

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (width,), p[f"{name}.weight"], p[f"{name}.bias"], 1e-6)

    queries, keys, values = torch.split(linear("attn.qkv", norm("norm1", tokens)), width, dim=-1)
    unit, mixed = width // heads, []
    for head in range(heads):
        q, k, v = (x[..., head * unit : (head + 1) * unit] for x in (queries, keys, values))
        mixed.append((q @ k.transpose(1, 2) / unit**0.5).softmax(dim=-1) @ v)
    tokens = tokens + linear("attn.proj", torch.cat(mixed, dim=-1))
    hidden = linear("mlp.fc1", norm("norm2", tokens))
    return tokens + linear("mlp.fc2", hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5)))


@pytest.mark.parametrize(("width", "heads", "num_tokens"), [(8, 1, 1), (12, 3, 7)])
def test_a_block_computes_what_the_paper_writes(width: int, heads: int, num_tokens: int) -> None:
    block = transformer_blocks(width=width, depth=1, heads=heads, mlp_ratio=2.5)[0]
    tokens = torch.randn(2, num_tokens, width)
    torch.testing.assert_close(block(tokens), block_slowly(block, tokens, heads=heads))


def test_drop_path_rises_linearly_from_nothing() -> None:
    blocks = transformer_blocks(width=4, depth=5, heads=1, drop_path=0.4)
    rates = [getattr(block.drop_path2, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_attention_is_repeatable_bit_for_bit_on_one_thread() -> None:
    """Forward and backward of fused attention, on a size at which it works in blocks."""
    blocks = transformer_blocks(width=64, depth=2, heads=4)
    tokens = torch.randn(4, 197, 64)

    def gradients() -> list[Tensor]:
        blocks.zero_grad()
        first, second = blocks
        second(first(tokens)).square().mean().backward()
        return [parameter.grad.clone() for parameter in blocks.parameters() if parameter.grad is not None]

    once, twice = gradients(), gradients()
    assert len(once) == len(list(blocks.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(once, twice, strict=True))


def test_linear_maps_and_patch_kernels_start_alike() -> None:
    """Xavier-uniform: within sqrt(6 / (inputs + outputs)), a kernel counted as the matrix that it is."""
    linear, conv = nn.Linear(48, 20), nn.Conv2d(3, 20, 4)
    for module in (linear, conv):
        initialise(module)
        weight = module.weight.detach()
        assert float(weight.abs().max()) <= (6 / 68) ** 0.5
        assert float(weight.std()) == pytest.approx((6 / 68 / 3) ** 0.5, rel=0.1)
        assert module.bias is not None
        assert module.bias.count_nonzero() == 0
