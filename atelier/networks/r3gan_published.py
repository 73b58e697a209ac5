"""The generator of R3GAN, whose weights its authors publish, in the names of r3gan.py."""

from __future__ import annotations

import re

from atelier.networks.layers import ImageShape
from atelier.networks.published import Published, PublishedError, Tensors, published

TITLE = "R3GAN"
MARKS = ("MainLayers.0.Layers.0.Basis",)  # tensors that only this kind of network has


def read(theirs: Tensors) -> Published:
    """The generator of R3GAN's authors. Takes what it uses out of `theirs`."""
    stages = 1 + max(int(match[1]) for name in theirs if (match := re.match(r"MainLayers\.(\d+)\.", name)))
    blocks = max(int(match[1]) for name in theirs if (match := re.match(r"MainLayers\.0\.Layers\.(\d+)\.", name)))
    channels = [len(theirs[f"MainLayers.{stage}.Layers.1.LinearLayer3.Layer.weight"]) for stage in range(stages)]
    inner, group = theirs["MainLayers.0.Layers.1.LinearLayer2.Layer.weight"].shape[:2]
    ours: Tensors = {
        "basis.basis": theirs.pop("MainLayers.0.Layers.0.Basis"),
        "basis.scale.weight": theirs.pop("MainLayers.0.Layers.0.LinearLayer.weight"),
        "pixels.weight": theirs.pop("AggregationLayer.Layer.weight"),
    }
    latent, classes = ours["basis.scale.weight"].shape[1], 0
    if "EmbeddingLayer.weight" in theirs:  # a linear map of one-hot vectors, whose columns are the classes
        embedding = ours["input.embedding.weight"] = theirs.pop("EmbeddingLayer.weight").T
        classes, latent = len(embedding), latent - embedding.shape[1]
        if embedding.shape[1] != latent:
            raise PublishedError(
                f"its latent has {latent} dimensions, its embedding {embedding.shape[1]}; r3gan has one size for both"
            )
    for stage in range(stages):
        change = f"MainLayers.{stage}.Layers.0.LinearLayer.Layer.weight"
        if change in theirs:
            ours[f"transitions.{stage - 1}.weight"] = theirs.pop(change)
        for block in range(blocks):
            name, own = f"MainLayers.{stage}.Layers.{block + 1}", f"blocks.{stage}.{block}"
            for number, part in enumerate(("expand", "spatial", "project"), start=1):
                ours[f"{own}.{part}.weight"] = theirs.pop(f"{name}.LinearLayer{number}.Layer.weight")
            for number, part in enumerate(("expand", "spatial"), start=1):
                ours[f"{own}.{part}.bias"] = theirs.pop(f"{name}.NonLinearity{number}.Bias")
    section = {"channels": channels, "blocks": blocks, "expansion": inner // channels[0], "group_size": group}
    shape = ImageShape(ours["basis.basis"].shape[1] * 2 ** (stages - 1), len(ours["pixels.weight"]), classes)
    return published("r3gan", section, latent, shape, ours)
