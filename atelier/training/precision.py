"""The arithmetic of training: bfloat16 where the device has instructions for it, float32 elsewhere.

Autocast to bfloat16 halves the bytes that move and, with the right instructions, doubles the products a second. A CPU without
them converts every operand to float32 and back: one convolution then takes tens of times as long as in float32.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Literal

import torch
from torch.nn.functional import conv2d

Precision = Literal["float32", "bfloat16"]
AMPERE = (8, 0)  # compute capability of the first GPUs with bfloat16
INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
WITHOUT = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI"}  # what they may say that has no bfloat16


def native(device: torch.device, environment: Mapping[str, str] = os.environ) -> Precision:
    """The faster arithmetic of a device: bfloat16 if it computes that natively.

    That is from CUDA's compute capability 8.0 on, and on CPUs with AVX512-BF16 or AMX unless oneDNN is told to leave these out.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.get_device_capability(device) >= AMPERE else "float32"
    limited = any(environment.get(name, "").upper() in WITHOUT for name in LIMITS)
    has = torch.cpu.get_capabilities()
    usable = torch.backends.mkldnn.is_available() and any(has.get(name, False) for name in INSTRUCTIONS)
    return "bfloat16" if usable and not limited else "float32"


def explain(chosen: Precision, device: torch.device, remedy: str) -> str:
    """What is computed in, and why, in a line; for a bfloat16 that the device emulates with the measured factor and a remedy."""
    where = "this GPU" if device.type == "cuda" else "this CPU"
    if chosen == native(device) == "bfloat16":
        return f"computes in bfloat16, which {where} has instructions for"
    if chosen == "float32":
        return "computes in float32" + ("" if native(device) == "bfloat16" else f": {where} has no instructions for bfloat16")
    return (
        f"computes in bfloat16, which {where} has no instructions for: a convolution takes {slowdown(device):.0f} times as long "
        f"as in float32; {remedy}"
    )


def slowdown(device: torch.device) -> float:
    """How many times as long as in float32 a convolution of 64 channels takes in bfloat16, forward and backward, measured now."""
    image = torch.ones(4, 64, 16, 16, device=device, requires_grad=True)
    kernel = torch.ones(64, 64, 3, 3, device=device, requires_grad=True)

    def seconds(dtype: torch.dtype) -> float:
        taken = []
        for _ in range(4):
            since = time.perf_counter()
            conv2d(image.to(dtype), kernel.to(dtype), padding=1).sum().backward()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            taken.append(time.perf_counter() - since)
        return min(taken[1:])

    return seconds(torch.bfloat16) / seconds(torch.float32)
