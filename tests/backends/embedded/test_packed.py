"""Packed weights give the products that the plain ones give."""

from __future__ import annotations

import copy

import pytest
import torch

from backends.embedded.packed import pack_linears


def layers(bias: bool, dtype: torch.dtype = torch.float32) -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(48, 80, bias=bias, dtype=dtype), torch.nn.LayerNorm(80, dtype=dtype)
    )


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 8, 9, 15, 17, 33, 100, 257, 1000])
@torch.no_grad()
def test_every_number_of_rows_gives_the_plain_product(rows: int, bias: bool) -> None:
    model, x = layers(bias), torch.randn(1, rows, 48)
    expected = model(x)
    pack_linears(model)
    product = model(x)
    assert product.shape == expected.shape
    assert torch.allclose(product, expected, atol=1e-5)


def test_weights_that_change_are_packed_again() -> None:
    model, x = layers(bias=True), torch.randn(64, 48)
    pack_linears(model)
    with torch.no_grad():
        model(x)
        model[0].weight.copy_(torch.randn(80, 48))
        expected = model[1](torch.nn.functional.linear(x, model[0].weight, model[0].bias))
        assert torch.allclose(model(x), expected, atol=1e-5)
        assert model.double()(x.double()).dtype == torch.float64


@torch.no_grad()
def test_a_copy_has_weights_of_its_own() -> None:
    model, x = layers(bias=True), torch.randn(64, 48)
    pack_linears(model)
    expected = model(x)
    copied = copy.deepcopy(model)
    model[0].weight.zero_()
    assert torch.equal(copied(x), expected)
    assert not torch.equal(model(x), expected)


@torch.no_grad()
def test_other_types_are_left_as_they_are() -> None:
    model, x = layers(bias=True, dtype=torch.bfloat16), torch.randn(64, 48, dtype=torch.bfloat16)
    expected = model(x)
    pack_linears(model)
    assert torch.equal(model(x), expected), "products are not the plain ones"


@torch.no_grad()
def test_numbers_of_rows_share_kernels() -> None:
    """As many as eight an octave, or memory would grow with every new one."""
    model = layers(bias=False)
    pack_linears(model)
    with torch.profiler.profile(record_shapes=True) as profile:
        for rows in range(256, 512):
            model(torch.randn(rows, 48))
    events = profile.key_averages(group_by_input_shape=True)
    shapes = {str(e.input_shapes[0]) for e in events if e.key == "mkldnn::_linear_pointwise"}
    assert 0 < len(shapes) <= 9
