"""Convolutions that are quick to differentiate twice, which penalties on gradients (R1, R2, WGAN-GP) ask for.

When PyTorch differentiates the backward pass of a grouped convolution, it goes group by group. The derivatives of a convolution
are convolutions themselves, grouped as it is; saying so is what the code of StyleGAN2-ADA (Karras et al. 2020) does, too. Values
and gradients differ from nn.Conv2d's by rounding alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from atelier.networks.modes import IMAGES_ALONE, TWICE, is_on


class Form(NamedTuple):
    """The arguments of a convolution beside its weights."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


class Convolution(nn.Conv2d):
    """nn.Conv2d with zeros around the images, the same but for its second derivatives."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not is_on(TWICE):
            return super()._conv_forward(input, weight, bias)
        if torch.is_autocast_enabled(input.device.type):
            kind = torch.get_autocast_dtype(input.device.type)
            input, weight, bias = input.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
        assert self.padding_mode == "zeros" and isinstance(self.padding, tuple)
        return _Convolved.apply(input, weight, bias, Form(self.stride, self.padding, self.dilation, self.groups))


class _Convolved(torch.autograd.Function):
    """images [N, C, H, W], weight [O, C / groups, h, w], bias [O] | None -> [N, O, ., .]."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, form: Form) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.form = form
        return torch.conv2d(images, weight, bias, *form)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        images, weight = ctx.saved_tensors
        by_images, by_weight, by_bias, _ = ctx.needs_input_grad
        if is_on(IMAGES_ALONE):
            by_weight = by_bias = False
        if not torch.is_grad_enabled():  # nobody differentiates these again: all at once is quicker
            return *_backward(slope, images, weight, ctx.form, (by_images, by_weight, by_bias)), None
        return (
            _ByImages.apply(slope, weight, images.shape, ctx.form) if by_images else None,
            _ByWeight.apply(slope, images, weight.shape, ctx.form) if by_weight else None,
            slope.sum(dim=(0, 2, 3)) if by_bias else None,
            None,
        )


class _ByImages(torch.autograd.Function):
    """The gradient by the images, linear in `slope` and in `weight`."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, weight: Tensor, shape: torch.Size, form: Form) -> Tensor:
        ctx.save_for_backward(slope, weight)
        ctx.form = form
        (found, _, _) = _backward(slope, _shaped(shape, slope), weight, form, (True, False, False))
        assert found is not None
        return found

    @staticmethod
    def backward(ctx: Any, bend: Tensor) -> Any:
        slope, weight = ctx.saved_tensors
        by_slope, by_weight, *_ = ctx.needs_input_grad
        return (
            _Convolved.apply(bend, weight, None, ctx.form) if by_slope else None,
            _ByWeight.apply(slope, bend, weight.shape, ctx.form) if by_weight and not is_on(IMAGES_ALONE) else None,
            None,
            None,
        )


class _ByWeight(torch.autograd.Function):
    """The gradient by the weight, linear in `slope` and in `images`."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, images: Tensor, shape: torch.Size, form: Form) -> Tensor:
        ctx.save_for_backward(slope, images)
        ctx.form = form
        (_, found, _) = _backward(slope, images, _shaped(shape, slope), form, (False, True, False))
        assert found is not None
        return found

    @staticmethod
    def backward(ctx: Any, bend: Tensor) -> Any:
        slope, images = ctx.saved_tensors
        by_slope, by_images, *_ = ctx.needs_input_grad
        return (
            _Convolved.apply(images, bend, None, ctx.form) if by_slope else None,
            _ByImages.apply(slope, bend, images.shape, ctx.form) if by_images else None,
            None,
            None,
        )


def _backward(
    slope: Tensor, images: Tensor, weight: Tensor, form: Form, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients by images, weight and bias, None where not wanted; of what is not needed only the shape is read."""
    stride, padding, dilation, groups = form
    biases = [weight.shape[0]] if wanted[2] else None
    found: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
        slope, images, weight, biases, stride, padding, dilation, False, (0, 0), groups, wanted
    )
    return found


def _shaped(shape: torch.Size, like: Tensor) -> Tensor:
    """A tensor of that shape which takes no memory."""
    return like.new_empty(1).expand(shape)
