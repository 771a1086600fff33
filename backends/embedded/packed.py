"""Linear layers with weights packed for oneDNN's kernels.

PyTorch multiplies float32 matrices on a CPU with MKL, which uses half the vector width of AMD
processors. oneDNN with packed weights is about twice as fast there for more than a few rows.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.nn import Linear
from torch.nn.functional import linear, pad

# With fewer rows, packing does not help: the product is bound by reading the weights.
_MIN_ROWS = 8


def pack_linears(model: torch.nn.Module) -> None:
    """Make the model's linear layers use packed copies of their weights while these are float32 on
    a CPU. For inference only: gradients do not flow."""
    if torch.backends.mkldnn.is_available():
        for module in model.modules():
            if type(module) is Linear:
                module.forward = _Packed(module)  # type: ignore[assignment]


class _Packed:
    """Repacks when the layer's weights change."""

    def __init__(self, layer: Linear) -> None:
        self._layer = layer
        self._packed: torch.Tensor | None = None
        self._packed_of: tuple[int, int] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Packed:
        return _Packed(copy.deepcopy(self._layer, memo))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self._layer.weight, self._layer.bias
        rows = x.numel() // x.shape[-1]
        if rows < _MIN_ROWS or weight.dtype != torch.float32 or weight.device.type != "cpu":
            return linear(x, weight, bias)
        present = weight.data_ptr(), weight._version
        if present != self._packed_of:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
            self._packed_of = present
        # oneDNN compiles and caches a kernel per number of rows: round to eight sizes per octave.
        unit = 1 << (rows.bit_length() - 4)
        x_T_E = pad(x.reshape(rows, -1), (0, 0, 0, -rows % unit))
        multiply = torch.ops.mkldnn._linear_pointwise
        return multiply(x_T_E, self._packed, bias, "none", [], "")[:rows].view(*x.shape[:-1], -1)
