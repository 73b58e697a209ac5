"""The self-contained HTML report: one file, pictures inlined, no script, nothing loaded from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from atelier.config.metrics import declared_values, kind_of, value_of
from atelier.data.packed import PackedDataset
from atelier.io.files import atomic_write
from atelier.io.pictures import grid
from atelier.metrics.evaluator import Evaluation
from atelier.report import facts
from atelier.report.charts import Point, Series, bar_chart, line_chart, number_text
from atelier.report.facts import Facts
from atelier.report.gallery import Neighbors, Row
from atelier.report.page import shown, template
from atelier.training.diagnosis import remarks

MAX_GRIDS, MAX_NEIGHBORS, MAX_LISTED = 12, 10, 20
MAX_WIDTH, GRID_WIDTH, TILE_WIDTH = 960, 480, 160
MAX_BYTES, PICTURE_BYTES = 1_000_000, 32_000  # of the page, and of one picture in it
STRIPS_BYTES, TILES_BYTES = 450_000, 180_000  # of all rows of images, and of all neighbors, before base64


@dataclass(frozen=True)
class Panel:
    """A chart: its title, what it is good for, and the curves that belong in it by their names in the history.

    `needs` is a curve without which it says nothing: one that stays at 0 hides the others.
    """

    title: str
    meaning: str
    curves: dict[str, str]
    bounds: tuple[float, float] | None = None
    logarithmic: bool = False
    needs: str = ""


@dataclass(frozen=True)
class Chart:
    """A drawn panel: its SVG, and for the legend the last value of each curve, or the kept one where one was kept."""

    title: str
    meaning: str
    svg: Markup
    legend: list[tuple[str, str]]
    lost: int


PANELS = [
    Panel("Losses", "neither should run away", {"loss_discriminator": "discriminator", "loss_generator": "generator"}),
    Panel(
        "Accuracy of the discriminator",
        "both at 1 for long: it has won; both at 0.5: it has given up; below: it is mostly wrong",
        {"real_accuracy": "real", "fake_accuracy": "generated"},
        (0, 1),
    ),
    Panel(
        "AUC of the discriminator",
        "shares of pairs that it orders rightly, 0.5 is chance; training above held-out images: what it has memorized",
        {
            "auc_real_fake": "real, generated",
            "auc_heldout_fake": "held-out, generated",
            "auc_train_heldout": "training, held-out",
        },
        (0, 1),
    ),
    Panel("Realism score", "0.5 is equilibrium", {"realism": "realism of generated images"}, (0, 1)),
    Panel(
        "Augmentation",
        "ADA raises the probability while its signal is above the target; DiffAugment holds it",
        {"augment_p": "probability", "ada_signal": "ADA signal"},
        needs="augment_p",
    ),
    Panel(
        "Balance",
        "how the discriminator is held at its target: a lower rate where it runs ahead, more steps where it falls behind",
        {"discriminator_rate": "part of its rate", "critic_steps": "its steps for one of the generator"},
    ),
    Panel(
        "Gradient norms",
        "spikes announce divergence",
        {"grad_norm_discriminator": "discriminator", "grad_norm_generator": "generator"},
        logarithmic=True,
    ),
    Panel(
        "Variety of a fixed batch",
        "relative to real images, towards 0 it has collapsed: how much the images differ, how many modes they cover; of label "
        "maps, how much noise changes an image",
        {"diversity": "diversity", "mode_coverage": "mode coverage", "noise_diversity": "diversity by noise alone"},
    ),
    Panel(
        "Distance from targets",
        "mean difference of fixed translations from their targets; the two part where pairs are learnt by heart",
        {"l1_training": "training pairs", "l1_held_out": "held-out pairs"},
    ),
    Panel(
        "PSNR of fixed crops",
        "in decibels; restored crops have to exceed their inputs, and part from each other where crops are learnt by heart",
        {"psnr_training": "training crops", "psnr_held_out": "held-out crops", "psnr_input": "inputs, enlarged bicubically"},
    ),
    Panel("Way there and back", "mean difference of a picture from its translation back", {"cycle_error": "difference"}),
    Panel(
        "Content of translations",
        "brightness below 0: colors are inverted; noise far above 1: the way back reads patterns that nobody sees",
        {"brightness_kept": "brightness kept", "noise_gain": "gain of noise on the way back"},
    ),
    Panel("Speed", "images a second", {"images_per_second": "images a second"}),
]


def write_report(
    output: Path,
    checkpoint: Path,
    evaluation: Evaluation,
    dataset: PackedDataset,
    rows: Sequence[Row],
    neighbors: Neighbors | None = None,
    baseline: Evaluation | None = None,
    baseline_name: str = "baseline",
    settings: dict[str, Any] | None = None,
    baseline_rows: Sequence[Row] = (),
    variants: np.ndarray | None = None,
    name: str | None = None,
) -> None:
    """Writes the report of a checkpoint folder as the HTML file `output`; equal inputs give equal bytes.

    `dataset` are the real images that it was measured against, `rows` its pictures (gallery.rows), `neighbors` the nearest real
    images (gallery.neighbors). `baseline` is another generator's evaluation, set beside this one where identities are equal,
    and `baseline_rows` are that one's pictures. `variants` are records, each with inputs that may be drawn of it (Sampler).
    `settings` are listed with the model's; `name` stands in the heading. Raises ReportError and GeneratorError naming what the
    folder lacks.
    """
    checkpoint = Path(checkpoint)
    known = facts.gather(checkpoint, evaluation, dataset.manifest, baseline, baseline_name, settings, name)
    listed, unlisted = facts.first(known.manifest.rejected, MAX_LISTED)
    values = {
        "facts": known,
        "info": known.info,
        "manifest": known.manifest,
        "split": dataset.split,
        "rows": _strips(rows, baseline_rows),
        "variants": [] if variants is None else [strip(row) for row in variants],
        "own": name or "generated",
        "beside": baseline_name if baseline_rows else "",
        "remarks": remarks(known.history["points"]),
        "alarms": known.history.get("alarms", []),
        "charts": [*charts(known), *_of_each(evaluation)],
        "neighbors": _neighbors(neighbors),
        "space": neighbors.space if neighbors else "",
        "typical": number_text(neighbors.typical) if neighbors else "",
        "shares": _shares(known),
        "distances": sorted(known.class_distances.items(), key=lambda one: -one[1])[:MAX_LISTED],
        "splits": facts.splits(known.manifest),
        "classes": facts.class_table(known.manifest),
        "rejected": listed,
        "more_rejected": unlisted,
        "ancestry": facts.ancestry(known.info),
        "privacy": facts.privacy(known.info),
    }
    for most in (MAX_GRIDS, MAX_GRIDS // 2, MAX_GRIDS // 4, 1):
        grids, hidden_grids = grids_over_time(checkpoint / "grids", known.info.images_seen, most)
        page = template("template.html.j2").render(**values, grids=grids, hidden_grids=hidden_grids)
        if len(page) <= MAX_BYTES:
            break
    atomic_write(Path(output), page)


def charts(known: Facts) -> list[Chart]:
    """A chart for each panel that the history has curves for, one for what no panel knows, and one of the measurements."""
    points = known.history["points"]
    names = list(dict.fromkeys(name for point in points for name in point if name not in ("images", "step")))
    placed = {name for panel in PANELS for name in panel.curves}
    panels = PANELS + [Panel(name, "", {name: name}) for name in names if name not in placed]
    drawn = []
    for panel in panels:
        curves = {name: curve(points, name) for name in panel.curves}
        curves = {name: points for name, points in curves.items() if any(value != 0 for _, value in points)}
        if curves and (panel.needs in curves or not panel.needs):
            drawn.append(_chart(panel, [Series(panel.curves[name], points) for name, points in curves.items()]))
    return _measured(known) + drawn


def curve(points: Sequence[dict[str, Any]], name: str) -> list[Point]:
    """(images, value) of the points that have `name`."""
    return [(float(point["images"]), float(point[name])) for point in points if point.get(name) is not None]


def _chart(panel: Panel, series: list[Series], best: Point | None = None) -> Chart:
    legend = []
    for one in series:
        finite = [value for _, value in one.points if math.isfinite(value)]
        value = number_text(best[1] if best else finite[-1]) if finite else "never finite"
        legend.append(("kept" if best else one.name, value))
    lost = sum(not math.isfinite(value) for one in series for _, value in one.points)
    return Chart(
        panel.title, panel.meaning, Markup(line_chart(series, panel.title, panel.bounds, panel.logarithmic, best)), legend, lost
    )


def _measured(known: Facts) -> list[Chart]:
    """The measurements that chose the kept checkpoint. They are of another number of images than the report."""
    evaluations = known.history["evaluations"]
    if not evaluations:
        return []
    points = curve(evaluations, "value")
    best = next((point for point in points if point[0] == known.info.images_seen), None)
    metric = str(evaluations[-1].get("identity", {}).get("metric", "distance"))
    title = value_of(kind_of(metric), metric).title_of(metric)
    better = "higher" if evaluations[-1].get("higher_is_better") else "lower"
    meaning = [f"{title}, {better} is better; the ring is the checkpoint that was kept"]
    if samples := known.info.settings.get("evaluate_samples"):
        meaning.append(f"on {samples:,} images ({'finetune' if known.info.parent else 'train'}.evaluate_samples)")
    if final := next((row for row in known.rows if row.name == metric), None):
        meaning.append(f"the {final.value} at the top is on {final.identity['samples']:,} (evaluate.samples)")
    trained = sum(one["seconds"] for one in known.history.get("compute", []))
    if trained and (measuring := sum(one.get("seconds", 0.0) for one in evaluations)):
        meaning.append(f"measuring took {measuring / trained:.1%} of the time of training")
    panel = Panel("Measured while training", "; ".join(meaning), {})
    return [_chart(panel, [Series(title, points)], best), *_watched(evaluations)]


def _of_each(evaluation: Evaluation) -> list[Chart]:
    """The first value that single images have, in the order of what their inputs have: where a generator helps, and where not."""
    starts = {name: f"{prefix}_{name}" for name in evaluation.of_each for prefix in ("input", "bicubic")}
    name, start = next(((own, start) for own, start in starts.items() if start in evaluation.of_each), ("", ""))
    if not name:
        return []
    title = f"{value_of(kind_of(name), name).title_of(name).partition(',')[0]}, image by image"
    order = np.argsort(evaluation.of_each[start], kind="stable")
    sides = {"images": evaluation.of_each[name], "inputs": evaluation.of_each[start]}
    series = [Series(side, [(float(n), float(value)) for n, value in enumerate(of[order])]) for side, of in sides.items()]
    legend = [(side, f"{number_text(float(np.median(of)))} in the median") for side, of in sides.items()]
    meaning = "each against its target, in the order of the inputs' values; pictures.csv lists them"
    return [Chart(title, meaning, Markup(line_chart(series, title)), legend, 0)]


def _watched(evaluations: Sequence[dict[str, Any]]) -> list[Chart]:
    """The shares that were measured of the generator beside the distance."""
    shares = {value.kind: value.title for _, value in declared_values() if value.form == "share" and value.subject == "generator"}
    metrics = [{"images": one["images"], **one.get("metrics", {})} for one in evaluations]
    series = [Series(kind, points) for kind in shares if (points := curve(metrics, kind))]
    meaning = "; ".join([*(shares[one.name] for one in series), "of the same images as the distance"])
    return [_chart(Panel("Shares, while training", meaning, {}, bounds=(0.0, 1.0)), series)] if series else []


def grids_over_time(folder: Path, best_images: int, most: int = MAX_GRIDS) -> tuple[list[tuple[int, str, bool]], int]:
    """(images seen, data URI, whether it is the kept checkpoint's) of up to `most` grids at even steps, and how many are hidden.

    The kept checkpoint's own grid is always among them.
    """
    files = {int(file.stem): file for file in sorted(folder.glob("*.png")) if file.stem.isdigit()}
    known = sorted(files)
    places = np.linspace(0, len(known) - 1, min(len(known), most)).round().astype(int) if known else ()
    chosen = {known[n] for n in places}
    if best_images in files and best_images not in chosen:
        chosen.remove(min(chosen - {known[0]} or chosen, key=lambda images: abs(images - best_images)))
        chosen.add(best_images)
    kept = [(images, _file_uri(files[images]), images == best_images) for images in sorted(chosen)]
    return kept, len(known) - len(kept)


def strip(images: np.ndarray, most: int = PICTURE_BYTES) -> str:
    """Images [N, C, H, W] in a row, as a data URI of about `most` bytes; "" for none."""
    return shown(grid(images, len(images), scale=1), MAX_WIDTH, most) if len(images) else ""


def _tile(image: np.ndarray, most: int) -> str:
    return shown(grid(image[None], 1, scale=1), TILE_WIDTH, most)


def _file_uri(path: Path) -> str:
    try:
        with Image.open(path) as picture:
            return shown(picture.convert("L" if picture.mode == "L" else "RGB"), GRID_WIDTH, PICTURE_BYTES)
    except OSError as error:
        raise facts.ReportError(
            f"{path}: not a picture ({error}); fetch the checkpoint again (dvc pull), or train again"
        ) from error


def _strips(rows: Sequence[Row], others: Sequence[Row]) -> list[tuple[str, ...]]:
    """For each row its class and strips: what was given, that enlarged, styles, its images, the other generator's, real ones.

    The other generator's row is that of the same class; without classes, that in the same place; "" where there is none.
    """
    many = len(others) + sum(2 + (row.given is not None) + (row.enlarged is not None) + (row.style is not None) for row in rows)
    most = min(PICTURE_BYTES, STRIPS_BYTES // max(many, 1))
    beside = {row.name or place: strip(row.generated, most) for place, row in enumerate(others)}
    return [
        (
            row.name,
            "" if row.given is None else strip(row.given, most),
            "" if row.enlarged is None else strip(row.enlarged, most),
            "" if row.style is None else strip(row.style, most),
            strip(row.generated, most),
            beside.get(row.name or place, ""),
            strip(row.real, most),
        )
        for place, row in enumerate(rows)
    ]


def _neighbors(near: Neighbors | None) -> list[list[tuple[str, str, str]]]:
    """For each generated image its own picture and those of its neighbors, each with its class and its distance."""
    if near is None:
        return []
    most, tiles = TILES_BYTES // max(near.distances[:MAX_NEIGHBORS].size + MAX_NEIGHBORS, 1), []
    for n, image in enumerate(near.generated[:MAX_NEIGHBORS]):
        names = near.real_classes[n] if near.real_classes else [""] * len(near.real[n])
        real = zip(near.real[n], names, near.distances[n], strict=True)
        own = near.classes[n] if near.classes else ""
        others = ((_tile(one, most), name, number_text(far)) for one, name, far in real)
        tiles.append([(_tile(image, most), own, "generated"), *others])
    return tiles


def _shares(known: Facts) -> Markup | None:
    """Bars of the class shares, each with a mark at its share of the real images. Of more than 20 classes the rarest 20."""
    if not known.class_shares:
        return None
    bars = [(name, share, known.real_shares.get(name, 0.0)) for name, share in known.class_shares.items()]
    if len(bars) > MAX_LISTED:
        bars = sorted(bars, key=lambda bar: bar[1])[:MAX_LISTED]
    return Markup(bar_chart(bars, "Share of each class"))
