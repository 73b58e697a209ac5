"""Deep fusion of noise, text and sound (DF-GAN: Tao et al. 2022, section 3), each of which may be missing.

Each input is projected to a code of one width and normalized; that of noise and the mean of those that are given are added. For
what is missing stands a learned null, so that the difference to it is what an input says: guidance scales that (Ho and Salimans
2022, equation 6, on codes). What is all zeros is missing: an embedding has unit length, and a log-mel spectrogram without a mean
is zero for silence alone.

The generator has no norm. Each of its blocks scales and shifts its channels by the code, twice in a row with a rectifier after
each (DFBLK, figure 3). With output skips (Karras et al. 2020, section 4.1) each adds pixels to those of the blocks before it, and
none is squashed: a background of white, where tanh hardly has a slope, is no end of learning then. Two dense layers may add
pixels, too. The discriminator sees the text beside its smallest feature map.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from atelier.networks.base import Discriminator, DiscriminatorOutput, Generator
from atelier.networks.convolution import Convolution
from atelier.networks.fusion_settings import Settings
from atelier.networks.inputs import Noise, Scalar, Sound, Takes, Text
from atelier.networks.layers import (
    LEAKY_GAIN,
    SLOPE,
    ImageShape,
    NetworkError,
    Unflatten2d,
    channels_last,
    channels_last_grad,
    enlarge,
    resolutions,
    scaled_init,
    wide,
)

NOISE, TEXT, AUDIO, GUIDANCE = "noise", "text", "audio", "guidance"
MOST_GUIDANCE = 4.0  # beyond it images are caricatures
SHORT = 1e-6  # what is shorter says nothing


def inputs_of(noise: int, text: Text, sound: Sound | None) -> Takes:
    """What a generator takes: noise of so many numbers, a text, a sound where there is any, and the guidance by both."""
    heard: Takes = {} if sound is None else {AUDIO: sound}
    guidance = Scalar(low=0.0, high=MOST_GUIDANCE, default=1.0)
    return {NOISE: Noise(size=noise, truncation=False), TEXT: text, **heard, GUIDANCE: guidance}


def directions(embeddings: Tensor) -> Tensor:
    """Embeddings [N, d] of any length as vectors of length sqrt(d); zeros stay zeros."""
    return F.normalize(wide(embeddings), dim=1, eps=SHORT) * embeddings.shape[1] ** 0.5


def present(values: Tensor) -> Tensor:
    """Whether each of the inputs [N, ...] is there, bool [N, 1]: it is unless it is all zeros."""
    return (values.flatten(1) != 0).any(dim=1, keepdim=True)


class Whitening(nn.Module):
    """Texts [N, size] -> directions in which the texts of training differ alike; zeros stay zeros. Until `fit`, `directions`.

    The captions of one set are near each other: here the mean is taken away, and what varies much weighs less (Su et al. 2021,
    section 3). Ours: each variance has the mean one added, since the least are those of single captions.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.center: Tensor
        self.matrix: Tensor
        self.register_buffer("center", torch.zeros(size))
        self.register_buffer("matrix", torch.eye(size))

    @torch.no_grad()
    def fit(self, texts: Tensor) -> None:
        """To texts [N, size] of any length, of which two differ at least."""
        unit = F.normalize(texts.double().cpu(), dim=1, eps=SHORT)
        center = unit.mean(dim=0)
        variances, axes = torch.linalg.eigh((unit - center).T @ (unit - center) / len(unit))
        self.center.copy_(center)
        self.matrix.copy_(axes * (variances + variances.mean()).rsqrt() @ axes.T)

    def forward(self, texts: Tensor) -> Tensor:
        unit = F.normalize(wide(texts), dim=1, eps=SHORT)
        return directions((unit - self.center) @ self.matrix) * present(texts)


class SoundEncoder(nn.Module):
    """Log-mel spectrograms [N, bands, frames] -> what they say, as embeddings [N, size] of texts.

    Three convolutions of stride 2 over both axes; the mean over time keeps where on the frequency axis something sounds.
    """

    def __init__(self, kind: Sound, width: int, size: int) -> None:
        super().__init__()
        widths = [1, width, 2 * width, 4 * width]
        self.layers = nn.ModuleList(
            scaled_init(nn.Conv2d(a, b, 3, stride=2, padding=1), LEAKY_GAIN) for a, b in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, b) for b in widths[1:])
        bands = -(-kind.bands // 8)
        self.out = scaled_init(nn.Linear(widths[-1] * bands, size))

    def forward(self, spectrograms: Tensor) -> Tensor:
        x = spectrograms[:, None]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.leaky_relu(norm(layer(x)), SLOPE)
        return self.out(x.mean(dim=3).flatten(1))


class Affines(nn.Module):
    """Feature maps scaled and shifted by a code, a rectifier after each of two times; both start as the identity."""

    def __init__(self, code: int, channels: int) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(scaled_init(nn.Linear(code, code), LEAKY_GAIN) for _ in range(2))
        self.out = nn.ModuleList(scaled_init(nn.Linear(code, 2 * channels), 0.0) for _ in range(2))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        for hidden, out in zip(self.hidden, self.out, strict=True):
            scale, shift = out(F.leaky_relu(hidden(code), SLOPE))[:, :, None, None].chunk(2, dim=1)
            x = F.leaky_relu(x * (1 + scale) + shift, SLOPE)
        return x


class FusionBlock(nn.Module):
    """x + f(x) with f: affines, 3x3, affines, 3x3; the shortcut is 1x1 where the widths differ."""

    def __init__(self, inner: int, outer: int, code: int) -> None:
        super().__init__()
        self.affines = nn.ModuleList([Affines(code, inner), Affines(code, outer)])
        self.convolutions = nn.ModuleList(
            [
                scaled_init(Convolution(inner, outer, 3, padding=1), LEAKY_GAIN),
                scaled_init(Convolution(outer, outer, 3, padding=1), LEAKY_GAIN / 2),
            ]
        )
        self.shortcut = scaled_init(Convolution(inner, outer, 1, bias=False)) if inner != outer else nn.Identity()

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        y = x
        for affines, convolution in zip(self.affines, self.convolutions, strict=True):
            y = convolution(affines(y, code))
        return self.shortcut(x) + y


class DensePixels(nn.Module):
    """Codes [N, width] -> pixels [N, C, H, W] by two hidden layers (Goodfellow et al. 2014), which start at 0."""

    def __init__(self, code: int, units: int, shape: ImageShape) -> None:
        super().__init__()
        self.hidden = nn.ModuleList(scaled_init(nn.Linear(inner, units), LEAKY_GAIN) for inner in (code, units))
        self.out = scaled_init(nn.Linear(units, shape.channels * shape.resolution**2), 0.0)
        self.image = Unflatten2d(shape.channels, shape.resolution)

    def forward(self, code: Tensor) -> Tensor:
        for layer in self.hidden:
            code = F.leaky_relu(layer(code), SLOPE)
        return self.image(self.out(code))


class FusionGenerator(Generator):
    """forward(noise, text, audio, guidance, variation) -> images [N, C, H, W] in [-1, 1], with output skips a little beyond.

    `text` float [N, size] and `audio` float [N, bands, frames] may be None or zeros: missing. `guidance` [N] or [] is 1 where it
    is None. `variation` [N, code] are standard normal numbers by which a text's code varies in training (conditioning
    augmentation, Zhang et al. 2017, section 3.2), None outside.
    """

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        super().__init__()
        self.settings, self.shape, self._takes = settings, shape, dict(takes)
        noise, text, sound = (takes.get(name) for name in (NOISE, TEXT, AUDIO))
        if not (isinstance(noise, Noise) and isinstance(text, Text) and isinstance(sound, Sound | None)):
            raise NetworkError(f"model.architecture fusion takes noise, text and maybe audio, not {', '.join(takes)}")
        width = settings.code
        self.latent = scaled_init(nn.Linear(noise.size, width))
        self.whitening = Whitening(text.size) if settings.whiten else None
        self.text = scaled_init(nn.Linear(text.size, 2 * width))
        self.sound_encoder = SoundEncoder(sound, settings.width_sound, text.size) if sound else None
        self.told = tuple(name for name in (TEXT, AUDIO) if name in takes)
        self.nulls = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name in self.told})
        sides = resolutions(shape.resolution)
        widths = [min(settings.width_generator * 2**step, settings.widest_generator) for step in reversed(range(len(sides)))]
        self.first = nn.Sequential(scaled_init(nn.Linear(width, widths[0] * sides[0] ** 2)), Unflatten2d(widths[0], sides[0]))
        pairs = itertools.pairwise([widths[0], *widths])
        self.blocks = nn.ModuleList(FusionBlock(inner, outer, width) for inner, outer in pairs)
        self.pixels = scaled_init(Convolution(widths[-1], shape.channels, 3, padding=1))
        before = widths[:-1] if settings.skips else []
        self.skips = nn.ModuleList(scaled_init(Convolution(width, shape.channels, 1)) for width in before)
        self.dense = DensePixels(width, settings.dense, shape) if settings.dense else None

    @property
    def takes(self) -> Takes:
        return self._takes

    def forward(
        self,
        noise: Tensor,
        text: Tensor | None = None,
        audio: Tensor | None = None,
        guidance: Tensor | None = None,
        variation: Tensor | None = None,
    ) -> Tensor:
        return self.synthesize(self.code(noise, text, audio, guidance, variation))

    def code(
        self,
        noise: Tensor,
        text: Tensor | None = None,
        audio: Tensor | None = None,
        guidance: Tensor | None = None,
        variation: Tensor | None = None,
    ) -> Tensor:
        """The fused code [N, width]; arguments as those of forward."""
        said: dict[str, Tensor] = {}
        there: dict[str, Tensor] = {}
        if text is not None:
            said[TEXT], there[TEXT] = self.read(text), present(text)
        if audio is not None:
            assert self.sound_encoder is not None, "this generator takes no sound"
            said[AUDIO], there[AUDIO] = self.sound_encoder(audio), present(audio)
        return self.fused(noise, said, there, guidance, variation)

    def fused(
        self,
        noise: Tensor,
        said: Mapping[str, Tensor],
        there: Mapping[str, Tensor],
        guidance: Tensor | None = None,
        variation: Tensor | None = None,
    ) -> Tensor:
        """The fused code [N, width] of what is said [N, size] by input's name, of which `there` says bool [N, 1] which are given.

        Of texts that is what `read` gives, of sounds what the sound encoder does.
        What is given is averaged, so that both together are no louder than one alone.
        """
        latent = normed(self.latent(noise))
        count = sum((one.to(latent.dtype) for one in there.values()), torch.zeros_like(latent[:, :1]))
        scale = 1.0 if guidance is None else guidance.reshape(-1, 1)
        code = latent * (1 + scale * (count > 0) * (self.settings.noise - 1))
        for name in self.told:
            null = self.nulls[name]
            code = code + null
            if name in said:
                meaning = self._meaning(said[name], variation)
                code = code + scale * there[name] * (meaning / count.clamp(min=1) - null)
        return code

    def read(self, texts: Tensor) -> Tensor:
        """Embeddings of texts [N, size] as vectors of length sqrt(size), whitened or as they are; zeros stay zeros."""
        return directions(texts) if self.whitening is None else self.whitening(texts)

    def _meaning(self, text: Tensor, variation: Tensor | None) -> Tensor:
        """The code [N, width] of what texts or sounds say [N, size]."""
        mean, log_variance = self.text_moments(text)
        return normed(mean if variation is None else mean + variation * (log_variance / 2).exp())

    def text_moments(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance, [N, width] each, of the codes of what texts say [N, size]."""
        mean, log_variance = F.leaky_relu(self.text(directions(text)), SLOPE).chunk(2, dim=1)
        return mean, log_variance

    def synthesize(self, code: Tensor) -> Tensor:
        """Fused codes [N, width] -> images [N, C, H, W] as those of forward."""
        x, pixels = self.first(code), None
        for number, block in enumerate(self.blocks):
            if number:
                x = enlarge(x) if self.skips else F.interpolate(x, scale_factor=2, mode="nearest")
            x = self.checkpointed(block, x, code)
            if number < len(self.skips):
                own = self.skips[number](F.leaky_relu(x, SLOPE))
                pixels = enlarge(own if pixels is None else pixels + own)
        own = self.pixels(F.leaky_relu(x, SLOPE))
        if self.dense is not None:
            own = own + self.dense(code)
        return own.tanh() if pixels is None else pixels + own


class DownBlock(nn.Module):
    """shortcut(x) + gain * f(x) at half the side, f: 4x4 of stride 2, 3x3, a rectifier after each.

    The gain starts at 1, not at the authors' 0: a run of minutes would end before such a discriminator looked closer than means.
    """

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.halve = scaled_init(Convolution(inner, outer, 4, stride=2, padding=1, bias=False), LEAKY_GAIN)
        self.spatial = scaled_init(Convolution(outer, outer, 3, padding=1, bias=False), LEAKY_GAIN)
        self.shortcut = scaled_init(Convolution(inner, outer, 1))
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.spatial(F.leaky_relu(self.halve(x), SLOPE)), SLOPE)
        return self.shortcut(F.avg_pool2d(x, 2)) + self.gain * y


class FusionDiscriminator(Discriminator):
    """forward(images [N, C, H, W], text [N, size]) -> DiscriminatorOutput: logits of whether images are real and show the text.

    Texts are what the generator's `read` gives, once, so that a penalty on the slope by them has the scale of images; one of
    zeros asks for the image alone.
    """

    def __init__(self, settings: Settings, shape: ImageShape, takes: Takes) -> None:
        super().__init__(ImageShape(shape.resolution, shape.channels, 0), "projection")
        text = takes[TEXT]
        assert isinstance(text, Text)
        sides = resolutions(shape.resolution)
        widths = [min(settings.width_discriminator * 2**step, settings.widest_discriminator) for step in range(len(sides))]
        self.first = scaled_init(Convolution(shape.channels, widths[0], 3, padding=1))
        self.blocks = nn.ModuleList(DownBlock(inner, outer) for inner, outer in itertools.pairwise(widths))
        self.text = scaled_init(nn.Linear(text.size, settings.code))
        self.joint = scaled_init(Convolution(widths[-1] + settings.code, widths[-1], 3, padding=1), LEAKY_GAIN)
        self.head = scaled_init(nn.Linear(widths[-1] * sides[0] ** 2, 1))

    def freezable_stages(self) -> list[nn.Module]:
        return [self.first, *self.blocks]

    def forward(self, images: Tensor, text: Tensor | None = None) -> DiscriminatorOutput:  # type: ignore[override]
        if text is None:
            raise NetworkError("a discriminator of family fusion sees images beside texts; pass zeros where there is none")
        return self.judge(self.features(images), text)

    def features(self, images: Tensor) -> Tensor:
        """The smallest feature maps [N, width, h, w]: what an image is, whatever it is told to be."""
        x = self.first(images)
        for block in self.blocks:
            x = self.checkpointed(block, x)
        return x

    def judge(self, features: Tensor, text: Tensor) -> DiscriminatorOutput:
        """The logits of features with texts [N, size], which can be others than those of before."""
        told = self.text(text.to(features.dtype))[:, :, None, None].expand(-1, -1, *features.shape[2:])
        joint = F.leaky_relu(self.joint(channels_last(torch.cat([features, told], dim=1))), SLOPE)
        return DiscriminatorOutput(self.head(channels_last_grad(joint).flatten(1))[:, 0])


def normed(code: Tensor) -> Tensor:
    """Codes [N, width] with mean 0 and variance 1 each (Ba et al. 2016), in float32 at least."""
    return F.layer_norm(wide(code), code.shape[1:])


NETWORKS = FusionGenerator, FusionDiscriminator
