"""Muon: for matrices, steps of one size in all directions, and AdamW's steps for everything else.

Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; the size of the steps is that
of Liu et al. 2025 (arXiv 2502.16982), so that one learning rate serves both. `torch.optim.Muon` (from torch 2.9 on)
takes the same steps, but only in bf16, which costs seconds where a processor does not have it, matrix by matrix, and
as a second optimiser.

Shapes: K matrices of one shape, M rows, N columns.
"""

import math
from collections import defaultdict
from typing import Any, cast

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.775, 2.0315)
"""Of the polynomial x -> a x + b x^3 + c x^5, which brings singular values from 0.01 to 1 near 1 in five rounds."""
ROUNDS = 5
AS_ADAMW = 0.2
"""The root of the mean square of AdamW's steps, at a rate of 1; a step of Muon's is scaled to it."""


def orthogonalised(matrices_KMN: Tensor) -> Tensor:
    """The nearest matrices whose rows (or columns, where these are fewer) are orthonormal, to about 0.3.

    Singular values below a hundredth of a matrix's norm come less near to 1.
    """
    is_tall = matrices_KMN.shape[-2] > matrices_KMN.shape[-1]
    x = matrices_KMN.mT if is_tall else matrices_KMN
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        products_KMM = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(products_KMM, products_KMM, products_KMM, beta=b, alpha=c), x, beta=a)
    return x.mT if is_tall else x


class Muon(torch.optim.Optimizer):
    """One optimiser of two kinds: the matrices take Muon's steps, what `rest` holds takes the steps of `rest`.

    `rest` is an AdamW; its groups and its state become this one's, and its settings are the defaults of `matrices`.
    Directions are found in `dtype`, or in the matrices' own. Weight decay is decoupled in both. Where `found_inf` is a
    tensor of 1, a step changes nothing, as in torch's fused optimisers.
    """

    def __init__(self, matrices: list[dict], rest: torch.optim.Optimizer, *, dtype: torch.dtype | None = None):
        self.rest, self.dtype = rest, dtype
        groups = [{**group, "is_matrix": True} for group in matrices]
        groups += [{**group, "is_matrix": False} for group in rest.param_groups]
        super().__init__(groups, dict(rest.defaults))
        self._share()

    def __setstate__(self, state: dict) -> None:
        """Take up a state that was kept, for `rest` too."""
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        self.rest.param_groups = [group for group in self.param_groups if not group["is_matrix"]]
        self.rest.state = self.state

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step with the gradients that are there; `closure` is in torch's interface, and not called."""
        unfit: Tensor | None = getattr(self, "found_inf", None)
        if unfit is not None and unfit.device.type == "cpu":
            if unfit:
                return
            unfit = None
        for group in self.param_groups:
            for parameters in _by_shape(group["params"]) if group["is_matrix"] else ():
                self._step(parameters, group, unfit)
        rest: Any = self.rest
        rest.found_inf = unfit
        rest.step()

    def _step(self, parameters: list[Tensor], group: dict, unfit: Tensor | None) -> None:
        """One step of matrices of one shape. A GPU is not asked whether it is `unfit`: all is multiplied by 0 then."""
        taken = 1.0 if unfit is None else 1.0 - unfit
        directions = []
        for parameter in parameters:
            gradient_MN = cast(Tensor, parameter.grad)
            if unfit is not None:
                gradient_MN = torch.where(unfit > 0, 0, gradient_MN)
            if not self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            mean_MN = self.state[parameter]["momentum_buffer"].lerp_(gradient_MN, (1 - MOMENTUM) * taken)
            directions.append(gradient_MN.lerp(mean_MN, MOMENTUM).to(self.dtype or mean_MN.dtype))
        rate = group["lr"] * taken
        size = rate * AS_ADAMW * math.sqrt(max(directions[0].shape))
        for parameter, step_MN in zip(parameters, orthogonalised(torch.stack(directions)), strict=True):
            parameter.mul_(1 - rate * group["weight_decay"]).sub_(step_MN.to(parameter.dtype).mul_(size))


def _by_shape(parameters: list[Tensor]) -> list[list[Tensor]]:
    """Those that have a gradient, by their shape."""
    found = defaultdict(list)
    for parameter in parameters:
        if parameter.grad is not None:
            found[parameter.shape].append(parameter)
    return list(found.values())
