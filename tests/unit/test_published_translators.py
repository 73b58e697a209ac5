"""Published translators: networks of the authors' layout, written from their papers' tables, against what is read of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.models.model import load_generator
from atelier.models.published import PublishedError, convert
from atelier.networks.inputs import LabelMap


class Blur(nn.Module):
    """A filter that halves (of 3 numbers) or doubles (of 4) sides, kept as a tensor `filt` [channels, 1, side, side]."""

    def __init__(self, channels: int, numbers: list[float]) -> None:
        super().__init__()
        line = torch.tensor(numbers)
        filt = torch.outer(line, line) / line.sum() ** 2 * (4 if len(numbers) == 4 else 1)
        self.register_buffer("filt", filt[None, None].repeat(channels, 1, 1, 1))
        self.up = len(numbers) == 4

    def forward(self, x: Tensor) -> Tensor:
        filt = self.get_buffer("filt")
        if not self.up:
            return F.conv2d(F.pad(x, [1] * 4, mode="reflect"), filt, stride=2, groups=len(filt))
        doubled = F.conv_transpose2d(F.pad(x, [1] * 4, mode="replicate"), filt, stride=2, padding=2, groups=len(filt))
        return doubled[:, :, 1:-1, 1:-1]


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        self.conv_block = nn.Sequential(*half, nn.ReLU(), *other)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class ResNet(nn.Module):
    """c7s1-w, d2w, d4w, blocks, u2w, uw, c7s1-3: with strides, or `filtered`."""

    def __init__(self, width: int, blocks: int, filtered: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU()]
        for inner in (width, 2 * width):
            layers += [nn.Conv2d(inner, 2 * inner, 3, 1 if filtered else 2, 1), nn.InstanceNorm2d(2 * inner), nn.ReLU()]
            layers += [Blur(2 * inner, [1.0, 2.0, 1.0])] if filtered else []
        layers += [Residual(4 * width) for _ in range(blocks)]
        for outer in (2 * width, width):
            if filtered:
                layers += [Blur(2 * outer, [1.0, 3.0, 3.0, 1.0]), nn.Conv2d(2 * outer, outer, 3, 1, 1)]
            else:
                layers += [nn.ConvTranspose2d(2 * outer, outer, 3, 2, 1, output_padding=1)]
            layers += [nn.InstanceNorm2d(outer), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)  # type: ignore[no-any-return]


class Level(nn.Module):
    """A level of a U-Net around the level within."""

    def __init__(self, outer: int, inner: int, within: nn.Module | None, entering: int | None = None) -> None:
        super().__init__()
        self.outermost = entering is not None
        down = nn.Conv2d(outer if entering is None else entering, inner, 4, 2, 1, bias=False)
        up = nn.ConvTranspose2d(inner if within is None else 2 * inner, outer, 4, 2, 1, bias=self.outermost)
        if self.outermost:
            assert within is not None
            self.model = nn.Sequential(down, within, nn.ReLU(), up, nn.Tanh())
        elif within is None:
            self.model = nn.Sequential(nn.LeakyReLU(0.2), down, nn.ReLU(), up, nn.BatchNorm2d(outer))
        else:
            norms = nn.BatchNorm2d(inner), nn.BatchNorm2d(outer)
            self.model = nn.Sequential(nn.LeakyReLU(0.2), down, norms[0], within, nn.ReLU(), up, norms[1], nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.model(x)
        return y if self.outermost else torch.cat([x, y], dim=1)


class UNet(nn.Module):
    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(levels)]
        within: nn.Module | None = None
        for level in reversed(range(1, levels)):
            within = Level(widths[level - 1], widths[level], within)
        self.model = Level(3, widths[0], within, entering=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)  # type: ignore[no-any-return]


class Spade(nn.Module):
    """Norm, then gains and shifts from a label map."""

    def __init__(self, width: int, labels: int, kind: str) -> None:
        super().__init__()
        self.param_free_norm = nn.BatchNorm2d(width, affine=False) if kind == "batch" else nn.InstanceNorm2d(width)
        self.mlp_shared = nn.Sequential(nn.Conv2d(labels, 6, 3, padding=1), nn.ReLU())
        self.mlp_gamma, self.mlp_beta = (nn.Conv2d(6, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        hidden = self.mlp_shared(F.interpolate(seen, size=x.shape[2:], mode="nearest"))
        found: Tensor = self.param_free_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)
        return found


class SpadeBlock(nn.Module):
    def __init__(self, inner: int, outer: int, labels: int, kind: str) -> None:
        super().__init__()
        middle = min(inner, outer)
        self.conv_0 = nn.utils.spectral_norm(nn.Conv2d(inner, middle, 3, padding=1))
        self.conv_1 = nn.utils.spectral_norm(nn.Conv2d(middle, outer, 3, padding=1))
        self.norm_0, self.norm_1 = Spade(inner, labels, kind), Spade(middle, labels, kind)
        if inner != outer:
            self.conv_s = nn.utils.spectral_norm(nn.Conv2d(inner, outer, 1, bias=False))
            self.norm_s = Spade(inner, labels, kind)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        y = self.conv_0(F.leaky_relu(self.norm_0(x, seen), 0.2))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, seen), 0.2))
        skip: Tensor = self.conv_s(self.norm_s(x, seen)) if hasattr(self, "conv_s") else x
        return skip + y


class GauGAN(nn.Module):
    """Seven blocks around five doublings, from noise of 5 numbers or from the label map of 4 classes."""

    def __init__(self, kind: str = "batch", noise: bool = False, side: int = 2) -> None:
        super().__init__()
        width, labels, self.side = 2, 4, side
        self.fc = nn.Linear(5, 16 * width * side**2) if noise else nn.Conv2d(labels, 16 * width, 3, padding=1)
        names = ("head_0", "G_middle_0", "G_middle_1", "up_0", "up_1", "up_2", "up_3")
        for name, inner, outer in zip(names, (16, 16, 16, 16, 8, 4, 2), (16, 16, 16, 8, 4, 2, 1), strict=True):
            self.add_module(name, SpadeBlock(inner * width, outer * width, labels, kind))
        self.conv_img = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, labels: Tensor, noise: Tensor | None = None) -> Tensor:
        seen = F.one_hot(labels, 4).permute(0, 3, 1, 2).to(self.conv_img.weight.dtype)
        if noise is None:
            x = self.fc(F.interpolate(seen, scale_factor=1 / 32, mode="nearest"))
        else:
            x = self.fc(noise).view(len(noise), -1, self.side, self.side)
        for name in ("head_0", "up", "G_middle_0", "G_middle_1", "up", "up_0", "up", "up_1", "up", "up_2", "up", "up_3"):
            x = F.interpolate(x, scale_factor=2) if name == "up" else self.get_submodule(name)(x, seen)
        return torch.tanh(self.conv_img(F.leaky_relu(x, 0.2)))


def woken(network: nn.Module) -> nn.Module:
    """In eval mode, with weights so large that every layer matters, and statistics that batch norm has seen."""
    torch.manual_seed(4)
    for name, parameter in network.named_parameters():
        gain = parameter.ndim == 1 and name.endswith("weight")
        nn.init.normal_(parameter, mean=float(gain), std=0.2)
    for module in network.modules():  # the same statistics for norms of the same map
        if isinstance(module, SpadeBlock) and hasattr(module, "norm_s"):
            module.norm_s.param_free_norm = module.norm_0.param_free_norm
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return network.eval()


def saved(path: Path, network: nn.Module, **more: Tensor) -> Path:
    save_file({name: value.clone().contiguous() for name, value in network.state_dict().items()} | more, path)
    return path


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


NETWORKS: dict[str, Any] = {
    "cyclegan": lambda: ResNet(4, 6, filtered=False),
    "cut": lambda: ResNet(4, 5, filtered=True),
    "pix2pix": lambda: UNet(4, 6),
}


@pytest.mark.parametrize(("kind", "noise"), [("batch", False), ("batch", True), ("instance", False)])
def test_label_maps_become_what_the_authors_layout_makes_of_them(kind: str, noise: bool, tmp_path: Path) -> None:
    network = GauGAN(kind, noise)
    for _ in range(3):  # of spectral norm, in training
        network(torch.randint(4, (2, 64, 64)), torch.randn(2, 5) if noise else None)
    woken(network)
    info = convert(saved(tmp_path / "network.safetensors", network), tmp_path / "ours")
    generator, labels = load_generator(tmp_path / "ours"), torch.randint(4, (2, 64, 64))
    drawn = {"noise": torch.randn(2, 5).double()} if noise else {}
    assert list(info.takes) == [*drawn, "map"] and info.resolution == (64 if noise else 256)
    with torch.no_grad():
        close(generator.double()(map=labels, **drawn), network.double()(labels, *drawn.values()))


def test_classes_of_a_label_map_are_named(tmp_path: Path) -> None:
    source, names = saved(tmp_path / "network.safetensors", woken(GauGAN())), ["sky", "sea", "sand", "tree"]
    info = convert(source, tmp_path / "ours", names)
    (legend,) = info.takes.values()
    assert isinstance(legend, LabelMap) and legend.classes == names and info.classes == []
    with pytest.raises(PublishedError, match="knows 4 classes, not 3"):
        convert(source, tmp_path / "other", names[:3])


def test_spectral_vectors_of_old_files(tmp_path: Path) -> None:
    """With one vector of each, that after many iterations belongs to the largest singular value."""
    network = GauGAN()
    woken(network)
    layers: list[Any] = [module for module in network.modules() if hasattr(module, "weight_orig")]
    for layer in layers:
        weight = layer.weight_orig.detach().flatten(1)
        for _ in range(50):
            layer.weight_u = F.normalize(weight @ layer.weight_v, dim=0)
            layer.weight_v = F.normalize(layer.weight_u @ weight, dim=0)
    state = {name: value.clone().contiguous() for name, value in network.state_dict().items() if not name.endswith("weight_v")}
    save_file(state, tmp_path / "old.safetensors")
    convert(tmp_path / "old.safetensors", tmp_path / "ours")
    labels = torch.randint(4, (1, 64, 64))
    with torch.no_grad():
        close(load_generator(tmp_path / "ours").double()(map=labels), network.double()(labels))


def test_pictures_that_are_not_square_are_refused(tmp_path: Path) -> None:
    network = GauGAN(noise=True)
    network.fc = nn.Linear(5, 32 * 2)
    with pytest.raises(PublishedError, match="its first map has 2 places, which are no square"):
        convert(saved(tmp_path / "wide.safetensors", network), tmp_path / "ours")


@pytest.mark.parametrize("family", NETWORKS)
def test_it_translates_what_the_authors_layout_translates(family: str, tmp_path: Path) -> None:
    network = woken(NETWORKS[family]())
    info = convert(saved(tmp_path / "network.safetensors", network), tmp_path / "ours")
    assert info.model["architecture"] == family and info.classes == []
    assert info.task == ("paired" if family == "pix2pix" else "translation")
    assert info.resolution == (64 if family == "pix2pix" else 256)
    translator = load_generator(tmp_path / "ours")
    image = torch.rand(2, 3, 64, 64).double() * 2 - 1
    with torch.no_grad():
        close(translator.double()(image=image), network.double()(image))


@pytest.mark.parametrize("family", NETWORKS)
def test_a_tensor_too_many_or_too_few(family: str, tmp_path: Path) -> None:
    network = NETWORKS[family]()
    more = saved(tmp_path / "more.safetensors", network, **{"model.extra": torch.zeros(2)})
    with pytest.raises(PublishedError, match=r"more.safetensors: 1 tensors have no place in .*model.extra"):
        convert(more, tmp_path / "ours")
    state = {name: value.clone() for name, value in network.state_dict().items()}
    missing = [name for name in state if name.endswith("bias")][-1]
    save_file({name: value for name, value in state.items() if name != missing}, tmp_path / "less.safetensors")
    with pytest.raises(PublishedError, match=rf"less.safetensors: its tensor '{missing}' is missing"):
        convert(tmp_path / "less.safetensors", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_old_files_have_statistics_that_instance_norm_does_not_use(tmp_path: Path) -> None:
    network = woken(NETWORKS["cyclegan"]())
    old = {"model.2.running_mean": torch.ones(4), "model.10.conv_block.2.running_var": torch.ones(16)}
    convert(saved(tmp_path / "old.safetensors", network, **old), tmp_path / "ours")
    image = torch.rand(1, 3, 32, 32).double() * 2 - 1
    with torch.no_grad():
        close(load_generator(tmp_path / "ours").double()(image=image), network.double()(image))


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    network = ResNet(4, 6, filtered=False)
    network.model[1] = nn.Conv2d(5, 4, 7)
    with pytest.raises(PublishedError, match="takes 5 channels, but a picture has 1 or 3"):
        convert(saved(tmp_path / "network.safetensors", network), tmp_path / "ours")
