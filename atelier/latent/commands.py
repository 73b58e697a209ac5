"""The verbs of `python -m atelier.latent`: each generates, and writes what people look at."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from atelier.extractors.perceptual import load_perception
from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_file, check_output
from atelier.io.pictures import grid, in_color
from atelier.io.progress import each
from atelier.latent import edits, translations
from atelier.latent.projection import project as projected
from atelier.latent.space import space_of, weighted
from atelier.latent.told import told
from atelier.latent.translations import Translations
from atelier.models.given import files, square
from atelier.models.model import GeneratorError, from_uint8, load_generator, load_latent_generator, to_uint8
from atelier.networks.base import Generator, LatentGenerator, Translator
from atelier.networks.fusion import FusionGenerator
from atelier.networks.inputs import LabelMap, Picture
from atelier.provenance.leaving import labelled
from atelier.tasks.records import as_input

MOVING = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}
PROJECTION = "projection.json"
SHORTEST_SIDE = 512  # of a moving picture, to which small images are enlarged


def truncate(args: argparse.Namespace) -> None:
    """A row for each seed, a column for each psi."""
    check_file(args.output)
    generator, label = of_checkpoint(args)
    of = edits.points(generator, flat(args.seeds), label)
    _write(args, generator, grid(edits.truncated(generator, of, args.psi), len(args.psi)))


def interpolate(args: argparse.Namespace) -> None:
    """A row for each two neighbors among the seeds, of each input where there are any."""
    check_file(args.output)
    seeds = flat(args.seeds)
    if len(seeds) < 2:
        raise GeneratorError("--seeds: an interpolation needs two seeds at least, such as --seeds 3 8")
    if args.input:
        if args.label is not None:
            raise GeneratorError(f"--class {args.label}: what --input gives has no class; leave it out")
        of = _translations(args, needs_noise=True)
        images = translations.between_noises(of, translations.noises(of.generator, seeds), args.steps)
        _write(args, of.generator, _beside(of, images, args.steps))
        return
    generator, label = of_checkpoint(args)
    images = edits.between(generator, edits.points(generator, seeds, label), args.steps)
    _write(args, generator, grid(images, args.steps))


def vary(args: argparse.Namespace) -> None:
    """A row for each input, a column for each seed."""
    check_file(args.output)
    of, seeds = _translations(args, needs_noise=True), flat(args.seeds)
    _write(args, of.generator, _beside(of, translations.varied(of, translations.noises(of.generator, seeds)), len(seeds)))


def morph(args: argparse.Namespace) -> None:
    """For each two neighbors among the label maps a row of their mixtures, and a row of images for each seed."""
    check_file(args.output)
    of = _translations(args)
    if args.seeds and not of.generator.noise_size:
        raise GeneratorError(f"--seeds: {args.checkpoint} takes {of.name}, and no noise that they could draw; leave --seeds out")
    if not isinstance(of.kind, LabelMap):
        raise GeneratorError(
            f"{args.checkpoint}: this generator takes pictures, and label maps alone have something between them; translate the "
            f"pictures (python -m components.generate --input {of.name}=PATH)"
        )
    if len(of.values) < 2:
        raise GeneratorError("--input: give two label maps at least, such as --input first.png second.png")
    noise = translations.noises(of.generator, flat(args.seeds or [range(1)])) if of.generator.noise_size else None
    rows = [in_color(part) for parts in translations.between_maps(of, noise, args.steps) for part in parts]
    _write(args, of.generator, grid(np.concatenate(rows), args.steps))


def mix(args: argparse.Namespace) -> None:
    """A table of each row's seed mixed with each column's; of --seeds their images, and below what weights make of them."""
    check_file(args.output)
    generator, label = of_checkpoint(args)
    if args.seeds:
        _write(args, generator, _weighted(args, generator, edits.points(generator, flat(args.seeds), label)))
        return
    if args.weights:
        raise GeneratorError("--weights: say of which seeds they are, such as --seeds 3 8 12")
    coarse, fine = (edits.points(generator, flat(seeds), label) for seeds in (args.rows, args.columns))
    left, top = (edits.truncated(generator, of, [1.0]) for of in (coarse, fine))
    inside = np.split(edits.mixed(generator, coarse, fine, args.parts), len(left))
    corner = np.full_like(left[:1], 255)
    rows = [np.concatenate([own[None], mixtures]) for own, mixtures in zip(left, inside, strict=True)]
    _write(args, generator, grid(np.concatenate([corner, top, *rows]), len(top) + 1))


def walk(args: argparse.Namespace) -> None:
    """Moving pictures of several walks side by side."""
    form = MOVING.get(args.output.suffix.lower())
    if form is None:
        raise GeneratorError(f"--output {args.output}: give a name that ends with {', '.join(MOVING)}")
    check_file(args.output)
    generator, label = of_checkpoint(args)
    classes = generator.shape.classes
    labels = (torch.arange(args.tiles) % classes if label is None else torch.full((args.tiles,), label)) if classes else None
    random = torch.Generator().manual_seed(args.seed)
    stops = torch.randn(args.tiles, args.stops, generator.latent_dim, generator=random)
    frames = max(1, round(args.seconds * args.rate / args.stops))
    device = next(generator.parameters()).device
    steps = edits.walk(generator, stops.to(device), None if labels is None else labels.to(device), frames)
    columns = min(args.tiles, 5)
    shown = each(steps, "walk", frames * args.stops, "pictures")
    pictures = [_enlarged(grid(images, columns, scale=1)) for images in shown]
    kept = {"save_all": True, "append_images": pictures[1:], "duration": round(1000 / args.rate), "loop": 0}
    about = {"weights": generator.sha256, "seed": args.seed}
    atomic_write(args.output, labelled(pictures[0], about, form=form, **kept))
    print(f"{args.output}: {len(pictures)} pictures, {len(pictures) / args.rate:.1f} s")


def project(args: argparse.Namespace) -> None:
    """A folder: the picture of both, the code, and how near it is."""
    check_output(args.output, PROJECTION)
    generator, label = of_checkpoint(args)
    device = next(generator.parameters()).device
    target = _image(args.image, generator).to(device)
    perceive = load_perception(args.network, args.weights, "--network").to(device)
    found = projected(generator, target, perceive, args.steps, args.seed, label)
    info = generator.info
    with torch.inference_mode():
        labels = None if found.label is None else torch.tensor([found.label], device=device)
        image = generator.synthesize(found.code[None], labels)
    about = {
        "image": args.image.name,
        "weights": generator.sha256,
        "class": None if found.label is None else info.classes[found.label],
        "distance": found.distance,
        "distance_network": args.network,
        "pixels_rms": found.pixels,
        "steps": args.steps,
        "seed": args.seed,
        "latent": found.code[0].tolist() if found.code.shape == (1, generator.latent_dim) else None,
    }
    with atomic_folder(args.output, PROJECTION) as aside:
        both = np.concatenate([to_uint8(target[None]), to_uint8(image)])
        given = {"image": args.image.read_bytes()}
        (aside / "picture.png").write_bytes(labelled(grid(both, 2, scale=4), {"weights": generator.sha256}, given))
        (aside / "code.safetensors").write_bytes(save({"code": found.code.cpu().contiguous()}))
        (aside / PROJECTION).write_text(canonical_json(about), encoding="utf-8")
    print(f"{args.output}: distance {found.distance:.4f} ({args.network}), pixels {found.pixels:.3f} RMS of [-1, 1]")


def of_checkpoint(args: argparse.Namespace) -> tuple[LatentGenerator, int | None]:
    """The generator of the checkpoint, and the label of --class. Raises GeneratorError."""
    generator = _of_latents(args)
    if args.label is None:
        return generator, None
    names = generator.info.classes if generator.shape.classes else []
    if args.label not in names:
        remedy = f"choose {', '.join(names)}" if names else "this generator has no classes; leave it out"
        raise GeneratorError(f"--class {args.label}: {remedy}")
    return generator, names.index(args.label)


def _of_latents(args: argparse.Namespace) -> LatentGenerator:
    """The generator of the checkpoint; one that takes texts or recordings is told those of --text and --audio."""
    generator = load_generator(args.checkpoint, args.device)
    if isinstance(generator, FusionGenerator):
        return told(generator, args.text, args.audio)
    if args.text or args.audio:
        raise GeneratorError(
            f"{args.checkpoint}: this generator takes {', '.join(generator.takes)}; leave --text and --audio out"
        )
    return load_latent_generator(args.checkpoint, args.device)


def _weighted(args: argparse.Namespace, generator: LatentGenerator, of: edits.Points) -> Image.Image:
    """A row for each line of weights: the parents, each as large as it weighs, and their mixture."""
    count = len(of.latents)
    lines = args.weights or [[1.0] * count]
    if count < 2:
        raise GeneratorError("--seeds: a mixture needs two seeds at least, such as --seeds 3 8 12")
    if args.parts is not None:
        raise GeneratorError("--parts is for --rows and --columns; --seeds are mixed in all parts")
    for line in lines:
        if len(line) != count or not sum(line):
            raise GeneratorError(f"--weights {' '.join(map(str, line))}: give {count} numbers, one a seed, not all of them 0")
    parents, mixtures = edits.truncated(generator, of, [1.0]), weighted(space_of(generator), of, torch.tensor(lines))
    rows = [np.concatenate([_shrunk(parents, line), mixture[None]]) for line, mixture in zip(lines, mixtures, strict=True)]
    return grid(np.concatenate(rows), count + 1)


def _shrunk(images: np.ndarray, weights: list[float]) -> np.ndarray:
    """The images [N, C, H, W] in the middle of as many white ones, each with a side of its share of the heaviest's weight."""
    side, shown = images.shape[2], np.full_like(images, 255)
    for image, place, weight in zip(images, shown, weights, strict=True):
        size = round(side * (weight / max(weights)) ** 0.5)
        rows = (np.arange(size) * side) // max(size, 1)
        first = (side - size) // 2
        place[:, first : first + size, first : first + size] = image[:, rows][:, :, rows]
    return shown


def _translations(args: argparse.Namespace, needs_noise: bool = False) -> Translations:
    """The generator of the checkpoint with what --input gives it. Raises GeneratorError, PictureError."""
    generator = load_generator(args.checkpoint, args.device)
    named = f"{args.checkpoint}: this generator takes {', '.join(generator.takes)}"
    read = {name: kind for name, kind in generator.takes.items() if isinstance(kind, Picture | LabelMap)}
    if not isinstance(generator, Translator):
        raise GeneratorError(
            f"{named}, and nothing that --input gives; truncate, interpolate without --input, mix and walk are for it"
        )
    if len(read) > 1:
        raise GeneratorError(f"{named}, of which --input cannot give several; python -m components.generate can")
    if needs_noise and not generator.noise_size:
        raise GeneratorError(
            f"{named}, and no noise, so that it makes one image of each (python -m components.generate; morph shows the way from "
            "one label map to the next); spade and oasis take noise where model.NAME.noise is above 0"
        )
    ((name, kind),) = read.items()
    given = np.stack([square(file, kind) for place in args.input for file in files(place)])
    return Translations(generator, name, as_input(kind, given.transpose(0, 3, 1, 2)))


def _beside(of: Translations, images: np.ndarray, columns: int) -> Image.Image:
    """Rows of so many images, what they were made of at the left of each."""
    rows = in_color(images).reshape(-1, columns, 3, *images.shape[2:])
    left = of.shown.repeat(len(rows) // len(of.values), axis=0)
    return grid(np.concatenate([left[:, None], rows], axis=1).reshape(-1, *rows.shape[2:]), columns + 1)


def _image(path: Path, generator: LatentGenerator) -> torch.Tensor:
    """A picture as the generator's images are: [C, H, W] in [-1, 1]. Raises PictureError."""
    shape = generator.shape
    kind = Picture(channels=1 if shape.channels == 1 else 3, resolution=shape.resolution, background="#000000")
    pixels = square(path, kind)
    return from_uint8(torch.tensor(pixels.transpose(2, 0, 1))[None])[0]


def flat(seeds: Iterable[range]) -> list[int]:
    """The seeds of ranges, one after the other."""
    return [seed for part in seeds for seed in part]


def _enlarged(picture: Image.Image) -> Image.Image:
    scale = max(1, SHORTEST_SIDE // max(picture.size))
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def _write(args: argparse.Namespace, generator: Generator, picture: Image.Image) -> None:
    seeds = {name: flat(given) for name in ("seeds", "rows", "columns") if (given := getattr(args, name, None))}
    inputs = [file for place in getattr(args, "input", None) or [] for file in files(place)]
    given = {f"input {number}": file.read_bytes() for number, file in enumerate(inputs)}
    atomic_write(args.output, labelled(picture, {"weights": generator.sha256} | seeds, given))
    print(f"{args.output}: {picture.width} x {picture.height} px")
