"""The tensors of weights files, loaded without running what they hold."""

from __future__ import annotations

import io
import pickle

import torch
from safetensors import torch as safetensors

from atelier.extractors.errors import ExtractorError
from atelier.extractors.weights import Weights

State = dict[str, torch.Tensor]


def tensors(weights: Weights) -> State:
    """The tensors of a .safetensors file, or of a .pth whose unpickling is held to tensors. Raises ExtractorError."""
    try:
        if weights.origin.endswith(".safetensors"):
            return safetensors.load(weights.content)
        state = torch.load(io.BytesIO(weights.content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ExtractorError(f"{weights.origin}: holds more than tensors, so it is not loaded; replace it") from error
    except Exception as error:  # torch.load meets damage with errors of many kinds
        raise ExtractorError(f"{weights.origin}: is damaged, or no file of tensors; replace it") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ExtractorError(f"{weights.origin}: holds more than named tensors; save the network's state dict alone")
    return state
