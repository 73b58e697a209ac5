"""The verbs of `python -m atelier.latent` that find codes: breed, directions, edit, explore."""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atelier.data.packed import PackedDataset
from atelier.extractors import load_extractor
from atelier.extractors.perceptual import load_perception
from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_file, check_folders, check_output
from atelier.io.pictures import GAP_COLOUR, grid
from atelier.latent import attributes, breeding, effects, exploration
from atelier.latent.breeding import CODES, Individuals
from atelier.latent.commands import flat, of_checkpoint
from atelier.latent.directions import SAMPLES, Direction, drawn, fitted, pca, sefa
from atelier.latent.discriminator import load_discriminator
from atelier.latent.edits import Points, points, synthesized
from atelier.latent.exploration import Found, Judge
from atelier.latent.space import Space, space_of
from atelier.latent.told import ToldGenerator
from atelier.metrics.classifier import Classifier, load_classifier
from atelier.metrics.originality import Familiar
from atelier.metrics.reference import load_reference, reference_indices
from atelier.models.model import GeneratorError
from atelier.networks.base import LatentGenerator
from atelier.provenance.leaving import labelled
from atelier.report.gallery import neighbors
from atelier.report.neighbors import neighbors_page
from atelier.tasks.sampling import Sample
from atelier.training.judge import has_discriminator, logits_of

FAMILY, DIRECTIONS, EXPLORATION = "family.json", "directions.json", "exploration.json"
TRIED, SHOWN, STEPS = 32, 6, 7  # points at which a direction is measured; of these on its sheet, and columns of that
PERCEIVED_BY = "efficientnet_lite0"
COLUMNS = 8
BALLS = 5_000  # real images that the realism score looks at


def breed(args: argparse.Namespace) -> None:
    """A folder: the parents above their children, the codes of these, and what each has of whom."""
    check_output(args.output, FAMILY)
    generator, label = of_checkpoint(args)
    parents = breeding.together([_parent(generator, one, label) for one in args.parents])
    if len(parents.names) < 2:
        raise GeneratorError("--parents: give two at least, such as --parents 3 8")
    children = breeding.bred(generator, parents, args.count, args.mutation, args.seed)
    classes = generator.info.classes if generator.shape.classes else []
    about = {
        "weights": generator.sha256,
        "parents": parents.names,
        "mutation": args.mutation,
        "seed": args.seed,
        "children": [
            {
                "genes": [parents.names[parent] for parent in row.tolist()],
                "class": classes[int(children.labels[index])] if children.labels is not None else None,
                "latent": _latent(generator, children.codes[index]),
            }
            for index, row in enumerate(children.inherited)
        ],
    }
    rows = [_sheet(generator, of) for of in (parents, children)]
    with atomic_folder(args.output, FAMILY) as folder:
        (folder / "family.png").write_bytes(labelled(grid(np.concatenate(rows), COLUMNS), {"weights": generator.sha256}))
        (folder / CODES).write_bytes(breeding.kept(generator, children))
        (folder / FAMILY).write_text(canonical_json(about), encoding="utf-8")
    print(
        f"{args.output}: {args.count} children of {', '.join(parents.names)}; breed on from {args.output}/0 ... {args.count - 1}"
    )


def directions(args: argparse.Namespace) -> None:
    """A folder: a sheet for each direction, and all of them with their effects as a file."""
    check_output(args.output, DIRECTIONS)
    generator, label = of_checkpoint(args)
    space = space_of(generator)
    classifier = None
    if args.data:
        check_folders(args.cache)
        classifier = load_classifier(_packed(args.data, generator, "train"), args.cache, 0)
    perceive = load_perception(PERCEIVED_BY, "packaged", "--network").to(next(generator.parameters()).device)
    of = points(generator, range(args.seed + SAMPLES, args.seed + SAMPLES + TRIED), label)
    classify = (lambda images: classifier.read(Sample(images)).argmax(axis=1)) if classifier else None
    stage = effects.Stage(space, of, perceive, classify)
    known = stage.effects(_found(args, space, label, classifier))
    few = replace(stage, of=Points(of.latents[:SHOWN], None if of.labels is None else of.labels[:SHOWN]))
    steps = np.linspace(-effects.REACH, effects.REACH, STEPS)
    with atomic_folder(args.output, DIRECTIONS) as folder:
        for effect in known:
            columns = [few.images(torch.tensor(effect.vector), step) for step in steps]
            sheet = np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:])
            (folder / f"{effect.name}.png").write_bytes(labelled(grid(sheet, STEPS), {"weights": generator.sha256}))
        (folder / DIRECTIONS).write_text(effects.written(space, known, PERCEIVED_BY), encoding="utf-8")
    for effect in known:
        strongest = sorted(effect.changes.items(), key=lambda one: -abs(one[1]))[:2]
        changes = ", ".join(f"{name} {change:+.2f}" for name, change in strongest)
        kept = "" if effect.class_kept is None else f", class kept {effect.class_kept:.0%}"
        print(f"{effect.name} ({effect.method}): {changes} a step; distance {effect.distance:.2f} of another image{kept}")
    print(f"{args.output}: {len(known)} directions in {space.name}")


def edit(args: argparse.Namespace) -> None:
    """The images of the seeds, below each what becomes of it."""
    check_file(args.output)
    generator, label = of_checkpoint(args)
    space, seeds = space_of(generator), flat(args.seeds)
    known = effects.read(args.directions, space)
    of = points(generator, seeds, label)
    with torch.inference_mode():
        where = space.points(of)
        by = torch.stack([step * known.named(name) for name, step in args.move]).sum(dim=0).to(where.device)
    parts = None
    if args.parts is not None:
        if args.parts.stop > space.parts or space.parts == 1:
            raise GeneratorError(
                f"--parts: this generator's code has {space.parts}; choose within 0-{space.parts - 1}, or leave it out"
            )
        parts = slice(args.parts.start, args.parts.stop)
    images = [effects.moved(space, where, of.labels, change, parts) for change in (torch.zeros_like(by), by)]
    _write_rows(args.output, images, len(seeds), {"weights": generator.sha256, "seeds": seeds})


def explore(args: argparse.Namespace) -> None:
    """A folder: a page of what was found beside its neighbors, a sheet, the codes, and the scores of each."""
    check_output(args.output, EXPLORATION)
    check_folders(args.cache)
    generator, label = of_checkpoint(args)
    training, held_out = (_packed(args.data, generator, split) for split in ("train", "test"))
    extractor = load_extractor(args.extractor, args.weights, (training.resolution,) * 2, args.device)
    reference, others = (load_reference(images, extractor, args.cache, 0) for images in (training, held_out))
    familiar = Familiar.of(reference.features, others.features, reference_indices(reference.count, 0, BALLS))
    classifier = load_classifier(training, args.cache, 0) if len(training.classes) > 1 else None
    judge = Judge(generator, extractor, familiar, familiar.bound(args.accept), classifier=classifier)
    if has_discriminator(args.checkpoint):
        discriminator = load_discriminator(args.checkpoint, args.device)
        real = held_out.images(others.indices)
        logits = logits_of(discriminator, real, _labels(held_out, others.indices, generator)).double().numpy()
        judge = replace(
            judge, discriminator=discriminator, least_logit=np.quantile(logits, args.accept) if args.accept else -np.inf
        )
    else:
        print(f"{args.checkpoint} holds no discriminator: images are judged by the realism score of their features alone")
    found = exploration.explore(judge, args.count, args.budget, args.seed, label)
    best, classes = found.best, generator.info.classes if generator.shape.classes else []
    names = [classes[one] for one in best.labels.tolist()] if best.labels is not None else []
    near = neighbors(best.images, best.features, reference, training, f"{extractor.name} features", classes=names)
    near = replace(near, typical=familiar.typical)
    scores = [_scores(best, n, judge) for n in range(len(best.images))]
    about = {
        "weights": generator.sha256,
        "data": training.content_hash,
        "extractor": {"name": extractor.name, "weights": extractor.weights_hash},
        "accept": args.accept,
        "least_realism": judge.least_realism,
        "least_logit": judge.least_logit if np.isfinite(judge.least_logit) else None,
        "budget": args.budget,
        "seed": args.seed,
        "accepted_at_random": found.accepted,
        "median_originality": {"at_random": _median(found.begun), "found": _median(best)},
        "images": [
            {
                **one,
                "class": names[n] if names else None,
                "neighbor_distances": (near.distances[n] / near.typical).tolist(),
                "latent": _latent(generator, best.codes[n]),
            }
            for n, one in enumerate(scores)
        ],
    }
    with atomic_folder(args.output, EXPLORATION) as folder:
        page = neighbors_page("The most original images", _lead(args, found, judge), near, [_text(one) for one in scores])
        atomic_write(folder / "page.html", page)
        (folder / "sheet.png").write_bytes(labelled(grid(best.images, COLUMNS), {"weights": judge.generator.sha256}))
        (folder / CODES).write_bytes(breeding.kept(generator, best.individuals))
        (folder / EXPLORATION).write_text(canonical_json(about), encoding="utf-8")
    print(
        f"{args.output}/page.html: {len(best.images)} images, median originality {_median(best):.2f} "
        f"({_median(found.begun):.2f} of the best at random; {found.accepted:.0%} of those were acceptable)"
    )


def _parent(generator: LatentGenerator, one: range | tuple[Path, int], label: int | None) -> Individuals:
    if isinstance(one, range):
        return breeding.of_points(generator, points(generator, one, label), [f"seed {seed}" for seed in one])
    return breeding.read(generator, *one)


def _sheet(generator: LatentGenerator, of: Individuals) -> np.ndarray:
    """uint8 images in whole rows of COLUMNS, empty places at the end of the last one."""
    images = synthesized(generator, of.codes, of.labels)
    return np.concatenate([images, np.full((-len(images) % COLUMNS, *images.shape[1:]), GAP_COLOUR, np.uint8)])


def _latent(generator: LatentGenerator, code: torch.Tensor) -> list[float] | None:
    """The latent that a served generator takes, None where a code is something else."""
    return code[0].tolist() if len(code) == 1 and not space_of(generator).mapped else None


def _found(args: argparse.Namespace, space: Space, label: int | None, classifier: Classifier | None) -> list[Direction]:
    """The directions of --labels, --attributes or --method. Raises GeneratorError."""
    if args.labels:
        seeds, values = _labelled(args.labels)
        return [fitted(space, points(space.generator, seeds, label), values, args.labels.stem)]
    of = drawn(space, args.seed, label)
    if not args.attributes:
        return (sefa if args.method == "sefa" else pca)(space, of, args.count)
    images = synthesized(space.generator, space.codes(space.points(of), of.labels), of.labels)
    known = attributes.measured(images)
    if classifier and of.labels is None:
        read = classifier.read(Sample(images)).argmax(axis=1)
        known |= {name: (read == index).astype(float) for index, name in enumerate(classifier.classes)}
    if unknown := [name for name in args.attributes if name not in known]:
        why = "" if of.labels is None else "; its class is given to this generator, and no direction"
        raise GeneratorError(f"--attributes {unknown[0]}: choose {', '.join(known)}{why}")
    return [fitted(space, of, known[name], name) for name in args.attributes]


def _labelled(path: Path) -> tuple[list[int], np.ndarray]:
    """Seeds and their labels of a CSV file with lines `seed,label`. Raises GeneratorError."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = [(int(row[0]), float(row[1])) for row in csv.reader(file) if row and row[0] != "seed"]
    except (OSError, ValueError, IndexError) as error:
        raise GeneratorError(
            f"{path}: cannot be read ({error}); give lines such as 17,1: a seed, and its label as a number"
        ) from error
    return [seed for seed, _ in lines], np.array([value for _, value in lines])


def _packed(folder: Path, generator: LatentGenerator, split: str) -> PackedDataset:
    """The packed images, of the generator's shape. Raises GeneratorError, DataError."""
    images, shape = PackedDataset(folder, split), generator.shape
    if (images.resolution, images.channels) != (shape.resolution, shape.channels):
        raise GeneratorError(
            f"--data {folder}: images of {images.resolution} px with {images.channels} channels, and the generator makes "
            f"{shape.resolution} px with {shape.channels}; give the set that it was trained on"
        )
    return images


def _labels(images: PackedDataset, rows: np.ndarray, generator: LatentGenerator) -> torch.Tensor | None:
    """The generator's labels of real images, None where it takes none. Raises GeneratorError for a class that it knows not."""
    if not generator.shape.classes or isinstance(generator, ToldGenerator):
        return None
    classes = generator.info.classes
    if unknown := [name for name in images.classes if name not in classes]:
        raise GeneratorError(f"{images.folder}: the generator knows no class {unknown[0]}; give the set that it was trained on")
    number = np.array([classes.index(name) for name in images.classes])
    return torch.from_numpy(number[images.labels[rows]])


def _median(of: exploration.Candidates) -> float:
    return float(np.median(of.originality))


def _unclassifiable(of: exploration.Candidates, n: int, familiar: Familiar) -> bool:
    """As the metric has it: novel, neither real-like nor of a class."""
    rejected = of.rejected is None or bool(of.rejected[n])
    return bool(of.novelty[n] > familiar.novel and of.realism[n] < familiar.real_like and rejected)


def _read_as(of: exploration.Candidates, n: int, judge: Judge) -> dict[str, Any]:
    """What a classifier reads in an image, and how surely; nothing where there is none."""
    if judge.classifier is None or of.probabilities is None or of.ambiguity is None or of.rejected is None:
        return {}
    best = int(of.probabilities[n].argmax())
    return {
        "ambiguity": float(of.ambiguity[n]),
        "rejected": bool(of.rejected[n]),
        "read_as": judge.classifier.classes[best],
        "probability": float(of.probabilities[n, best]),
    }


def _scores(of: exploration.Candidates, n: int, judge: Judge) -> dict[str, Any]:
    """What is known of an image by itself: logit and what is read only where there is a discriminator or a classifier."""
    return {
        "originality": float(of.originality[n]),
        "novelty": float(of.novelty[n]),
        "realism_score": float(of.realism[n]),
        "unclassifiable": _unclassifiable(of, n, judge.familiar),
        **({} if of.logits is None else {"logit": float(of.logits[n])}),
        **_read_as(of, n, judge),
    }


def _lead(args: argparse.Namespace, found: Found, judge: Judge) -> list[str]:
    logit = f" and the discriminator's logit at least {judge.least_logit:.2f}" if np.isfinite(judge.least_logit) else ""
    acceptable = "Every image is acceptable."
    if args.accept:
        bound = f"realism score is at least {judge.least_realism:.2f}{logit}"
        acceptable = f"Acceptable is an image whose {bound}, as {1 - args.accept:.0%} of held-out images have it."
    read = ", plus the ambiguity of a classifier, its entropy from 0 (sure) to 1" if judge.classifier else ""
    return [
        f"Originality is novelty, the distance from the nearest training image{read}. {acceptable}",
        f"{args.checkpoint}, {args.budget:,} images looked at. Of those at random {found.accepted:.0%} were acceptable, and the "
        f"best {len(found.begun.images)} had a median originality of {_median(found.begun):.2f}; those below have "
        f"{_median(found.best):.2f}.",
    ]


def _text(scores: dict[str, Any]) -> list[str]:
    """What stands beside an image."""
    named = (("originality", ".2f"), ("novelty", ".2f"), ("realism_score", ".2f"), ("logit", "+.2f"), ("ambiguity", ".2f"))
    lines = [f"{name.replace('_', ' ')} {scores[name]:{form}}" for name, form in named if name in scores]
    if "read_as" in scores:
        lines.append(f"{'rejected: ' if scores['rejected'] else ''}{scores['read_as']} {scores['probability']:.0%}")
    return [*lines, "unclassifiable"] if scores["unclassifiable"] else lines


def _write_rows(path: Path, rows: list[np.ndarray], columns: int, about: dict[str, Any]) -> None:
    picture = grid(np.concatenate(rows), columns)
    atomic_write(path, labelled(picture, about))
    print(f"{path}: {picture.width} x {picture.height} px")
