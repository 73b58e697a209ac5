"""The base classes of all networks: what a generator and a discriminator are to the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from atelier.networks.inputs import Given, LabelMap, Noise, Picture, Takes, in_order, of_latents
from atelier.networks.layers import ClassEmbedding, ClassPlane, ImageShape, NetworkError, scaled_init, wide
from atelier.networks.modes import Recomputation


class DiscriminatorOutput(NamedTuple):
    """A discriminator's output for N images: logits [N], positive for real, or [N, scales] of several scales.

    `classes` are the scores [N, classes] of an auxiliary classifier (Odena et al. 2017), None without one.
    """

    logits: Tensor
    classes: Tensor | None = None

    @property
    def overall(self) -> Tensor:
        """One logit an image, [N]: the mean over the scales."""
        return self.logits if self.logits.ndim == 1 else self.logits.mean(dim=1)


class Network(nn.Module):
    """A network of a task: generator, discriminator or another. It may trade activations for computation."""

    activation_checkpointing = False
    memory_format = torch.channels_last  # of its weights, which decides that of its feature maps
    rate = 1.0  # of the learning rate that the settings say

    def checkpointed(self, part: Callable[..., Tensor], *args: Any) -> Tensor:
        """part(*args), a part of the forward pass.

        With `activation_checkpointing` the backward pass computes its activations again (Chen et al. 2016).
        """
        if not (self.activation_checkpointing and torch.is_grad_enabled()):
            return part(*args)
        contexts = nullcontext(), Recomputation(self.frozen_spectral_state())
        found: Tensor = checkpoint(part, *args, use_reentrant=False, preserve_rng_state=False, context_fn=lambda: contexts)
        return found

    def frozen_spectral_state(self) -> Callable[[], AbstractContextManager[None]]:
        """Returns a maker of contexts in which the spectral norms have the vectors of now, for recomputation."""
        return nullcontext

    def advance(self, progress: float) -> None:
        """Called before each step with the share of the training that is over, in [0, 1)."""

    def power_iteration(self) -> None:
        """Updates the vectors of spectral norms: called before each forward pass in training, outside torch.compile."""


class Generator(Network):
    """Inputs to images. `takes` declares the inputs by name, `shape` the images; a task's generators derive from this class.

    Pictures and label maps of other sides than the trained one may pass where `multiple` is not 0: multiples of it.
    """

    info: Any  # what a loaded model says about itself; set by atelier.models.model
    sha256: str
    shape: ImageShape
    multiple = 0
    levels = 1  # images that a discriminator judges of one, stacked as channels

    @property
    def takes(self) -> Takes:
        """The inputs by name."""
        raise NotImplementedError

    @property
    def any_size(self) -> bool:
        """Whether inputs of other sides than the trained one may pass."""
        return self.multiple > 0

    @property
    def judged(self) -> tuple[int, int, int]:
        """Channels, height and width of what a discriminator sees of an image; as many channels for each of `levels`."""
        return self.shape.channels, self.shape.resolution, self.shape.resolution

    def generate(self, inputs: Mapping[str, Tensor], truncation: Tensor | None = None) -> Tensor:
        """Images [N, C, H, W], about [-1, 1], of a tensor [N, ...] for each input.

        `truncation` [N] is for generators that take noise, and declare that they can truncate it; None for all others.
        """
        images: Tensor = self(**inputs)
        return images


class LatentGenerator(Generator):
    """Latents to images: forward(z [N, latent_dim], label int64 [N] | None, noise | None) -> [N, C, H, W], about [-1, 1].

    The way is z -> code -> image. The code is what truncation, mixing and projection work on: the latent as it is, or what a
    mapping or a cut into parts makes of it. `noise` [N, self.noise_dim] are standard normal numbers that vary an image beside its
    latent while training (noise, dropout, a second latent to mix with); without them the image is a function of latent and label.

    `shape.classes` is 0 for an unconditional generator, which ignores labels; a conditional one raises NetworkError without them.
    """

    noise_dim = 0

    def __init__(self, latent_dim: int, shape: ImageShape) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = shape

    @property
    def takes(self) -> Takes:
        return of_latents(self.latent_dim, self.shape.classes)

    def generate(self, inputs: Mapping[str, Tensor], truncation: Tensor | None = None) -> Tensor:
        noise, label = inputs["noise"], inputs.get("label")
        if truncation is None:
            return self(noise, label)  # type: ignore[no-any-return]
        return self.synthesize(self.truncate(self.code(noise, label), label, truncation[:, None, None]), label)

    def forward(self, z: Tensor, label: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        return self.synthesize(self.code(z, label), label, noise)

    def code(self, z: Tensor, label: Tensor | None) -> Tensor:
        """[N, latent_dim] -> [N, parts, width]: a part for each group of layers, from the smallest feature map up."""
        return z[:, None]

    def synthesize(self, code: Tensor, label: Tensor | None, noise: Tensor | None = None) -> Tensor:
        """A code [N, parts, width] -> [N, C, H, W]."""
        raise NotImplementedError

    def truncate(self, code: Tensor, label: Tensor | None, psi: float | Tensor) -> Tensor:
        """Moves codes [N, parts, width] towards the commonest one, which is 0 without a mapping; psi is a number or [N, 1, 1].

        1 leaves them as they are, to the bit; 0 leaves no variety.
        """
        return code * psi

    def read(self) -> None:
        """Reads what is never trained from files that the settings name, where a training begins; a trained model holds it."""

    def drafts(self, z: Tensor, label: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """What the discriminator sees of generated images, [N, *judged]; arguments as those of forward."""
        images: Tensor = self(z, label, noise)
        return images

    def shown(self, judged: Tensor) -> Tensor:
        """The images [N, C, H, W] of what the discriminator sees, [N, *judged]."""
        return judged

    def fade_real(self, images: Tensor) -> Tensor:
        """What the discriminator sees of real images [N, C, H, W], [N, *judged].

        They have as much detail as the generator gives now: while a stage fades in, so do its pixels.
        """
        return images


class Planes(nn.Module):
    """Inputs by name -> one tensor [N, width, H, W]: what a translator starts from, and its discriminator's condition.

    Pictures come first, as they are, then a label map int64 [N, H, W] as a plane of ones and zeros for each class, all zeros
    where it is 255; or these planes themselves, float [N, classes, H, W], which may be a mixture of maps. Noise is left out.
    """

    def __init__(self, takes: Takes) -> None:
        super().__init__()
        seen = {name: kind for name, kind in in_order(takes).items() if not isinstance(kind, Noise)}
        self.classes = {name: self._classes(name, kind) for name, kind in seen.items()}
        pictures = [kind.channels for kind in takes.values() if isinstance(kind, Picture)]
        self.width = sum(pictures) + sum(self.classes.values())
        self.register_buffer("one", torch.ones(()), persistent=False)  # has the type of the network

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        planes = [self.of_map(inputs[name], classes) if classes else inputs[name] for name, classes in self.classes.items()]
        return torch.cat(planes, dim=1).contiguous()

    def of_map(self, labels: Tensor, classes: int) -> Tensor:
        """The planes [N, classes, H, W] of a label map, or as they are where it is given as such."""
        if not labels.is_floating_point():
            labels = labels[:, None] == torch.arange(classes, device=labels.device)[:, None, None]
        return labels.to(self.get_buffer("one").dtype)

    @staticmethod
    def _classes(name: str, kind: Given) -> int:
        if isinstance(kind, Picture):
            return 0
        if isinstance(kind, LabelMap):
            return len(kind.classes)
        raise NetworkError(f"input {name} is neither a picture nor a label map, which is what is translated; take it out")


class Translator(Generator):
    """Pictures to pictures: forward(noise, **inputs) -> [N, C, H, W], about [-1, 1]; the inputs have the names of `takes`.

    `noise` are standard normal numbers: [N, noise_dim] that vary an image in training (dropout) and are None outside, or, where
    `takes` has it, an input of `noise_size` numbers.
    """

    memory_format = torch.contiguous_format  # norms of single images cost three times as much in the other one on a CPU
    starts_from_noise = False  # too, where `takes` has it
    restores = False  # makes the picture that it is given, only better: what that holds beside 8 bits of color can stay
    noise_size = 0
    noise_dim = 0

    def __init__(self, settings: Any, shape: ImageShape, takes: Takes) -> None:
        super().__init__()
        self.settings, self.shape, self._takes = settings, shape, in_order(takes)
        self.planes = Planes(takes)
        if not self.planes.width:
            raise NetworkError(f"{settings.name()} translates a picture or a label map, and the inputs have neither; add one")
        for name, kind in takes.items():
            if isinstance(kind, Noise):
                if name != "noise" or not self.starts_from_noise:
                    raise NetworkError(f"{settings.name()} takes no noise called {name}; take it out of the inputs")
                self.noise_size = kind.size

    @property
    def takes(self) -> Takes:
        return self._takes


class PatchOutput(NamedTuple):
    """Logits [N, 1, h, w] of patches, positive for real, and features [N, C, h, w] of each layer: a tuple for each scale.

    A discriminator that tells classes has logits [N, 1 + classes, h, w], the first for what is generated.
    """

    logits: tuple[Tensor, ...]
    features: tuple[tuple[Tensor, ...], ...]

    @property
    def overall(self) -> Tensor:
        """One logit an image, [N]: the mean over positions, then over scales; of classes, the odds that it is of any of them."""
        real = [one if one.shape[1] == 1 else one[:, 1:].logsumexp(dim=1) - one[:, 0] for one in map(wide, self.logits)]
        return torch.stack([logits.flatten(1).mean(dim=1) for logits in real]).mean(dim=0)

    def split(self, count: int) -> tuple[PatchOutput, PatchOutput]:
        """That of the first `count` images, and that of the others."""
        first, others = (
            PatchOutput(
                tuple(one[part] for one in self.logits), tuple(tuple(one[part] for one in scale) for scale in self.features)
            )
            for part in (slice(0, count), slice(count, None))
        )
        return first, others


class PatchDiscriminator(Network):
    """Images to logits of their patches: forward(images [N, C, H, W] in [-1, 1], condition | None) -> PatchOutput.

    `condition` [N, condition_channels, H, W] is what the image was made of (`Translator.planes`); None where that is 0.
    """

    memory_format = torch.contiguous_format

    def __init__(self, shape: ImageShape, condition_channels: int) -> None:
        super().__init__()
        self.shape, self.condition_channels = shape, condition_channels
        self.in_channels = shape.channels + condition_channels

    def append_condition(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """[N, C, H, W] -> [N, in_channels, H, W], the condition first."""
        if (condition is None) != (self.condition_channels == 0):
            raise NetworkError(f"this discriminator sees {self.condition_channels} channels of a condition; pass just these")
        return (images if condition is None else torch.cat([condition, images], dim=1)).contiguous()

    def freezable_stages(self) -> list[nn.Module]:
        """The feature stages from the image side up, without the head: what FreezeD freezes (Mo et al. 2020, section 3)."""
        raise NotImplementedError


class Discriminator(Network):
    """Images to logits: forward(images [N, C, H, W] in [-1, 1], label int64 [N] | None) -> DiscriminatorOutput.

    Of a generator that shows more of an image than the image, the discriminator takes that, too. With `noise_dim` its forward has
    a third argument: standard normal numbers [N, noise_dim] that perturb what it sees in training, None outside.

    `shape.classes` is 0 for an unconditional discriminator, which ignores labels; a conditional one raises NetworkError
    without them. Where the label is concatenated, `append_label_plane` makes it one of `in_channels` channels.
    """

    group = 1  # batches must be multiples of it
    noise_dim = 0

    def __init__(self, shape: ImageShape, conditioning: str) -> None:
        super().__init__()
        self.shape = shape
        self.plane = ClassPlane(shape) if shape.classes and conditioning == "concatenation" else None
        self.in_channels = shape.channels + (self.plane is not None)

    def append_label_plane(self, images: Tensor, label: Tensor | None) -> Tensor:
        """[N, C, H, W] -> [N, in_channels, H, W]."""
        return images if self.plane is None else torch.cat([images, self.plane(label).to(images.dtype)], dim=1)

    def freezable_stages(self) -> list[nn.Module]:
        """The feature stages from the image side up, without the head: what FreezeD freezes (Mo et al. 2020, section 3)."""
        raise NotImplementedError


class Head(nn.Module):
    """Features [N, width] to a DiscriminatorOutput: a linear unit, and what `conditioning` adds to it where there are classes.

    projection: the features projected on the label's embedding, logit = v(y) . f(x) + psi(f(x)) (Miyato and Koyama 2018,
    equation 3). auxiliary: the scores v(k) . f(x) of all classes k (Odena et al. 2017). concatenation: nothing, since the label
    was seen with the image. `wrap` is put around each layer, for spectral norm and the like.
    """

    def __init__(
        self, width: int, classes: int, conditioning: str, wrap: Callable[[nn.Module], nn.Module] = lambda layer: layer
    ) -> None:
        super().__init__()
        self.auxiliary = conditioning == "auxiliary"
        self.linear = wrap(scaled_init(nn.Linear(width, 1)))
        embedded = classes if conditioning != "concatenation" else 0
        self.embedding = wrap(scaled_init(ClassEmbedding(classes, width))) if embedded else None

    def forward(self, features: Tensor, label: Tensor | None) -> DiscriminatorOutput:
        logits = self.linear(features).squeeze(1)
        if self.embedding is None:
            return DiscriminatorOutput(logits)
        if self.auxiliary:
            return DiscriminatorOutput(logits, F.linear(features, self.embedding.weight))  # type: ignore[arg-type]
        return DiscriminatorOutput(logits + (features * self.embedding(label)).sum(dim=1))
