"""Published restorers: networks of the authors' layouts, written anew, against what is read of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from atelier.models.model import load_generator
from atelier.models.published import PublishedError, convert
from tests.support.written_out import State, convolved, enlarged, rectified, repeated, shuffled, unshuffled

WIDTH, GROWTH, BLOCKS = 6, 3, 2
Names = tuple[str, str, str, str, str, str, str]
ESRGAN: dict[str, Names] = {  # first, inside of blocks, after them, the two doublings, the two last layers
    "first files": ("model.0", "model.1.sub.{}.RDB{}.conv{}.0", "model.1.sub.2", "model.3", "model.6", "model.8", "model.10"),
    "later files": ("conv_first", "RRDB_trunk.{}.RDB{}.conv{}", "trunk_conv", "upconv1", "upconv2", "HRconv", "conv_last"),
    "BasicSR": ("conv_first", "body.{}.rdb{}.conv{}", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last"),
}


def filled(layers: dict[str, tuple[int, int]]) -> State:
    """Numbers for 3x3 convolutions of so many channels to so many."""
    rng = torch.Generator().manual_seed(3)
    state: State = {}
    for name, (inner, outer) in layers.items():
        state[f"{name}.weight"] = torch.randn(outer, inner, 3, 3, generator=rng) * (9 * inner) ** -0.5
        state[f"{name}.bias"] = torch.randn(outer, generator=rng)
    return state


def esrgan_state(names: Names, seen: int = 3, channels: int = 3) -> State:
    first, inside, around, *outer, last = names
    layers = {first: (seen, WIDTH), **dict.fromkeys((around, *outer), (WIDTH, WIDTH)), last: (WIDTH, channels)}
    for block in range(BLOCKS):
        for dense in range(3):
            for layer in range(5):
                name = inside.format(block, dense + 1, layer + 1)
                layers[name] = WIDTH + layer * GROWTH, GROWTH if layer < 4 else WIDTH
    return filled(layers)


def esrgan(names: Names, state: State, x: Tensor) -> Tensor:
    """Pixels of [0, 1] through the authors' layers."""
    first, inside, around, *doublings, high, last = names
    entered = x = convolved(state, first, x)
    for block in range(BLOCKS):
        y = x
        for dense in range(1, 4):
            seen = [y]
            for layer in range(1, 6):
                seen.append(convolved(state, inside.format(block, dense, layer), torch.cat(seen, dim=1)))
                if layer < 5:
                    seen[-1] = rectified(seen[-1], 0.2)
            y = y + 0.2 * seen[-1]
        x = x + 0.2 * y
    x = entered + convolved(state, around, x)
    for name in doublings:
        x = rectified(convolved(state, name, repeated(x, 2)), 0.2)
    return convolved(state, last, rectified(convolved(state, high, x), 0.2))


def msrresnet_state(scale: int) -> State:
    upconv = (
        {"upconv1": (WIDTH, 4 * WIDTH), "upconv2": (WIDTH, 4 * WIDTH)} if scale == 4 else {"upconv1": (WIDTH, scale**2 * WIDTH)}
    )
    inside = {f"body.{block}.conv{layer}": (WIDTH, WIDTH) for block in range(BLOCKS) for layer in (1, 2)}
    return filled({"conv_first": (3, WIDTH), **inside, **upconv, "conv_hr": (WIDTH, WIDTH), "conv_last": (WIDTH, 3)})


def msrresnet(state: State, pixels: Tensor, scale: int) -> Tensor:
    x = rectified(convolved(state, "conv_first", pixels), 0.1)
    for block in range(BLOCKS):
        x = x + convolved(state, f"body.{block}.conv2", rectified(convolved(state, f"body.{block}.conv1", x)))
    for name, factor in (("upconv1", 2), ("upconv2", 2)) if scale == 4 else (("upconv1", scale),):
        x = rectified(shuffled(convolved(state, name, x), factor), 0.1)
    x = convolved(state, "conv_last", rectified(convolved(state, "conv_hr", x), 0.1))
    return x + enlarged(pixels, scale)


def saved(path: Path, state: State) -> Path:
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


def doubled(state: State) -> State:
    return {name: value.double() for name, value in state.items()}


def images(channels: int = 3) -> Tensor:
    return torch.rand(2, channels, 8, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


def restored(folder: Path, image: Tensor) -> Tensor:
    with torch.no_grad():
        made: Tensor = load_generator(folder).double()(image=image)
    return made


def close(ours: Tensor, theirs: Tensor) -> None:
    """Theirs are pixels of [0, 1]."""
    torch.testing.assert_close(ours, theirs * 2 - 1, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ESRGAN)
def test_esrgan_by_all_its_names(kind: str, tmp_path: Path) -> None:
    names = ESRGAN[kind]
    state = esrgan_state(names)
    info = convert(saved(tmp_path / "network.safetensors", state), tmp_path / "ours")
    assert info.model["rrdb"].items() >= {"width": WIDTH, "growth": GROWTH, "blocks": BLOCKS, "residual": False}.items()
    assert (info.task, info.resolution, info.takes["image"].resolution) == ("restoration", 256, 64)  # type: ignore[union-attr]
    close(restored(tmp_path / "ours", images()), esrgan(names, doubled(state), (images() + 1) / 2))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("scale", "factor"), [(4, 1), (2, 2), (1, 4)])
def test_real_esrgan_at_its_scales(scale: int, factor: int, channels: int, tmp_path: Path) -> None:
    """For 2 and 1 pixels become channels first."""
    names = ESRGAN["BasicSR"]
    state = esrgan_state(names, factor**2 * channels, channels)
    info = convert(saved(tmp_path / "network.safetensors", state), tmp_path / "ours")
    assert (info.resolution, info.channels) == (64 * scale, channels)
    theirs = esrgan(names, doubled(state), unshuffled((images(channels) + 1) / 2, factor))
    close(restored(tmp_path / "ours", images(channels)), theirs)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_msrresnet_at_its_scales(scale: int, tmp_path: Path) -> None:
    state = msrresnet_state(scale)
    info = convert(saved(tmp_path / "network.safetensors", state), tmp_path / "ours")
    assert info.model["architecture"] == "srresnet" and info.resolution == 64 * scale
    close(restored(tmp_path / "ours", images()), msrresnet(doubled(state), (images() + 1) / 2, scale))


@pytest.mark.parametrize(("title", "state"), [("ESRGAN", esrgan_state(ESRGAN["BasicSR"])), ("MSRResNet", msrresnet_state(4))])
def test_a_tensor_too_many_or_too_few(title: str, state: State, tmp_path: Path) -> None:
    more = saved(tmp_path / "more.safetensors", state | {"conv_extra.weight": torch.zeros(2)})
    with pytest.raises(PublishedError, match=rf"more.safetensors: 1 tensors have no place in {title}.*conv_extra.weight"):
        convert(more, tmp_path / "ours")
    less = saved(tmp_path / "less.safetensors", {name: value for name, value in state.items() if name != "conv_hr.bias"})
    with pytest.raises(PublishedError, match=r"less.safetensors: its tensor 'conv_hr.bias' is missing"):
        convert(less, tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_esrgans_of_other_forms_are_refused(tmp_path: Path) -> None:
    once = (*ESRGAN["first files"][:4], "model.5", "model.5", "model.7")
    with pytest.raises(PublishedError, match="does not double the side twice"):
        convert(saved(tmp_path / "once.safetensors", esrgan_state(once)), tmp_path / "ours")
    with pytest.raises(PublishedError, match="takes 5 channels and makes 3, which is no picture"):
        convert(saved(tmp_path / "five.safetensors", esrgan_state(ESRGAN["BasicSR"], seen=5)), tmp_path / "ours")
    with pytest.raises(PublishedError, match="takes 2 channels, but a picture has 1 or 3"):
        convert(saved(tmp_path / "two.safetensors", esrgan_state(ESRGAN["BasicSR"], seen=2, channels=2)), tmp_path / "ours")
