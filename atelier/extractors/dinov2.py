"""DINOv2 (Oquab et al. 2024): features learnt without labels, whose distances agree with people more than Inception's do
(Stein et al. 2023).

An image reaches the network as in dgm-eval, the code of Stein et al., and the network is what the official hub gives it there:
224 px, the position embedding resampled from 37 x 37 to 16 x 16, the class token after the final norm. The architecture is
timm's; the weights are a user's file.
"""

from __future__ import annotations

import torch
from timm import create_model
from torch import nn

from atelier.extractors.base import Extractor, bicubic, pixels
from atelier.extractors.errors import ExtractorError
from atelier.extractors.tensors import State, tensors
from atelier.extractors.weights import SETTING, read

PUBLISHED = "https://dl.fbaipublicfiles.com/dinov2/dinov2_{0}/dinov2_{0}_pretrain.pth"
SIZES = {384: ("vits14", "small"), 768: ("vitb14", "base"), 1024: ("vitl14", "large")}  # by the width of a token
SIDE, PATCH, NATIVE_GRID = 224, 14, 37
GRID = SIDE // PATCH
OFFSET = 0.1
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB in 0 … 1
WHERE = f"the weights are published at {PUBLISHED.format('vits14')} (vitb14, vitl14) and at https://huggingface.co/timm"


def load_dinov2(weights: str, size: tuple[int, int], device: torch.device | str) -> Extractor:
    """ViT-S, ViT-B or ViT-L with patches of 14 px, whichever the file at the path or `s3://` URI holds. Raises ExtractorError."""
    if weights in ("packaged", "published"):
        raise ExtractorError(f"{SETTING}: {weights} is not for dinov2; set the path of a file or its s3:// URI: {WHERE}")
    file = read(weights)
    name, network = dinov2_network(tensors(file), file.origin)
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))

    def prepare(images: torch.Tensor) -> torch.Tensor:
        return (_as_pillow(images) / 255 - mean) / std

    resize = f"{pixels(size)} to {SIDE} px, bicubic as Pillow (antialiased, rounded), (x / 255 - mean) / std of ImageNet"
    chunk = 4 if torch.device(device).type == "cpu" else 64
    dim = network.get_parameter("cls_token").shape[-1]
    return Extractor(name, network, prepare, dim, file.sha256, resize, size, chunk, device)


def dinov2_network(state: State, origin: str) -> tuple[str, nn.Module]:
    """("dinov2_vits14" or its like, [N,3,224,224] -> [N, width]) from tensors named as the official code or as timm names them.

    The two differ in the mask token alone, which only training needs. Raises ExtractorError on other tensors.
    """
    state = {key: value.float() for key, value in state.items() if key != "mask_token"}
    width = state["cls_token"].numel() if "cls_token" in state else 0
    if width not in SIZES:
        raise ExtractorError(f"{origin}: holds no DINOv2 of size S, B or L in the official naming or in timm's; {WHERE}")
    short, long = SIZES[width]
    with torch.device("meta"):
        network = create_model(f"vit_{long}_patch{PATCH}_dinov2", pretrained=False, img_size=SIDE, num_classes=0)
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    shapes["pos_embed"] = torch.Size((1, 1 + NATIVE_GRID**2, width))
    found = {key: value.shape for key, value in state.items()}
    if found != shapes:
        wrong = sorted(key for key in found.keys() | shapes.keys() if found.get(key) != shapes.get(key))
        raise ExtractorError(f"{origin}: is not DINOv2 {short} without registers, it differs at {', '.join(wrong[:3])}; {WHERE}")
    network.load_state_dict({**state, "pos_embed": _resampled(state["pos_embed"])}, strict=True, assign=True)
    return f"dinov2_{short}", network


def _as_pillow(images: torch.Tensor) -> torch.Tensor:
    """uint8 [N,C,H,W] -> whole float32 levels [N,C,224,224]: Pillow's resize, which rounds after the width and after the height.

    Pillow computes in fixed point, so that up to one level in 100 differs by 1. Of late (13.0) it takes the height first where
    only the height shrinks; before, so in the published numbers, it always took the width first.
    """
    wide = bicubic(images, (images.shape[2], SIDE)).round()
    return bicubic(wide, (SIDE, SIDE)).round()


def _resampled(positions: torch.Tensor) -> torch.Tensor:
    """Position embedding [1, 1 + 37 * 37, d] -> [1, 1 + 16 * 16, d], the class token's as it is.

    The official models are published with interpolate_offset 0.1 and without antialiasing: bicubic (a = -0.75), centers 37 / 16.1
    apart. timm would use 37 / 16 and antialiasing.
    """
    token, patches = positions[:, :1], positions[:, 1:]
    grid = patches.unflatten(1, (NATIVE_GRID, NATIVE_GRID)).permute(0, 3, 1, 2)
    scale = (GRID + OFFSET) / NATIVE_GRID
    small = nn.functional.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([token, small.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
