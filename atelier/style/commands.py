"""The verbs of `python -m atelier.style`: each makes a picture, and writes it."""

from __future__ import annotations

import argparse
import csv
import io
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from atelier.data.kept import flat
from atelier.extractors.looking import CHOSEN, load_look
from atelier.io.files import atomic_write, check_file
from atelier.io.pictures import grid
from atelier.io.progress import bar
from atelier.models.given import naming, recipe_of
from atelier.models.model import load_generator, to_uint8
from atelier.networks.adain import AdaINGenerator, masked, mixed, recolored
from atelier.networks.adain_settings import SHRINKAGE
from atelier.networks.inputs import Picture
from atelier.provenance.leaving import labelled
from atelier.report.charts import Series, line_chart
from atelier.style.optimization import Choices, Losses, StyleError, columns
from atelier.style.optimization import optimize as optimized

LEAST = 16  # pixels of the shorter side, of which three poolings leave two
COLORS = "#2563c9", "#c8501a", "#7a3fb5", "#1a7f45", "#b42318", "#888888", "#111418"
LOOKS = ".level{stroke:#ddd}.tick{font:9px sans-serif;fill:#555}.line{fill:none;stroke-width:1.8}.hover{fill:transparent}"
HEADING = 40  # pixels of the chart's legend


def optimize(args: argparse.Namespace) -> None:
    """The picture, and how its losses fell as a table and as a chart."""
    table, chart = args.output.with_suffix(".csv"), args.output.with_suffix(".svg")
    for path in (args.output, table, chart):
        check_file(path)
    device = torch.device(args.device)
    content = read(args.content, args.side).to(device)
    style = read(args.style, args.style_side or args.side).to(device)
    if args.keep_colors:
        style = recolored(style, content)
    look = load_look(args.network, args.weights, "", "--", args.pooling).to(device)
    choices = Choices(args.optimizer, args.steps, args.style_weight, args.variation)
    with bar("optimize", args.steps, unit="evaluations") as shown:

        def told(losses: Losses) -> None:
            layers = " ".join(f"{name} {losses[name]:.3g}" for name in CHOSEN[look.name].style)
            shown.set_postfix_str(f"content {losses['content']:.3g} {layers}")
            shown.update(1)

        made, history = optimized(look, content, style, choices, told)
    _write(args, made, look.sha256, [args.style])
    atomic_write(table, _table(history))
    atomic_write(chart, _chart(history))
    print(f"{table}, {chart}: the losses of {len(history)} evaluations, in {look.name} (sha256 of its weights {look.sha256})")


def mix(args: argparse.Namespace) -> None:
    """The content in one style or several, everywhere or each in its own region."""
    generator, content, styles = _given(args)
    shares = _shares(args)
    masks = [_mask(path, content) for path in args.mask or []]
    with torch.inference_mode():
        made = mixture(generator, content, styles, shares, masks, args.alpha, args.keep_colors)
    _write(args, made, generator.sha256, args.style)


def sheet(args: argparse.Namespace) -> None:
    """What `mix` makes of a content and two styles, side by side, each cropped to the content's sides."""
    generator, content, (first, second) = _given(args)
    left = torch.zeros_like(content[:, :1])
    left[..., : content.shape[3] // 2] = 1
    with torch.inference_mode():
        made = [
            mixture(generator, content, [first], [1.0]),
            mixture(generator, content, [first], [1.0], alpha=0.5),
            mixture(generator, content, [first, second], [0.5, 0.5]),
            mixture(generator, content, [second, first], [1.0, 1.0], [left, 1 - left]),
            mixture(generator, content, [first], [1.0], keep_colors=True),
        ]
    cells = [content, *(filled(style, content) for style in (first, second)), *made]
    picture = grid(to_uint8(torch.cat(cells)), 4, 1)
    _save(args, picture, generator.sha256, args.style)


def filled(picture: Tensor, like: Tensor) -> Tensor:
    """The middle of a picture [1, C, H, W] at the sides of another one."""
    height, width = like.shape[2:]
    scale = max(height / picture.shape[2], width / picture.shape[3])
    sides = [max(side, round(scale * old)) for side, old in zip((height, width), picture.shape[2:], strict=True)]
    whole = F.interpolate(picture, sides, mode="bilinear", antialias=True)
    top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
    return whole[..., top : top + height, left : left + width]


def mixture(
    generator: AdaINGenerator,
    content: Tensor,
    styles: Sequence[Tensor],
    shares: Sequence[float],
    masks: Sequence[Tensor] = (),
    alpha: float = 1.0,
    keep_colors: bool = False,
) -> Tensor:
    """A content [1, C, H, W] in styles [1, C, h, w] by their `shares`, or each where its mask [1, 1, H, W] in [0, 1] is.

    Where no mask is the content stays. `alpha` goes from the content to the style.
    """
    seen = generator.features(content)
    looks = [generator.features(recolored(style, content) if keep_colors else style) for style in styles]
    rest = (1 - torch.stack(list(masks)).sum(dim=0)).clamp_min(0) if masks else None
    styled = {}
    for name, plain in seen.items():
        each = [look[name] for look in looks]
        if rest is None:
            whole = mixed(plain, each, shares)
        else:
            whole = masked([*(mixed(plain, [one], [1.0]) for one in each), plain], [*masks, rest])
        styled[name] = torch.lerp(plain, whole, alpha)
    return generator.decode(styled).float().clamp(-1, 1)


def read(path: Path, side: int, multiple: int = 1, channels: int = 3) -> Tensor:
    """A picture of any size as [1, C, H, W] in [-1, 1], its longer side `side` px, both multiples of `multiple`.

    Raises PictureError for a file that is no picture, StyleError for one that is too narrow.
    """
    kind = Picture(channels=channels, resolution=side)  # type: ignore[arg-type]
    with naming(path, kind):
        pixels = flat(path.read_bytes(), recipe_of(kind)).pixels
    scale = side / max(pixels.shape[:2])
    height, width = (max(multiple, round(length * scale / multiple) * multiple) for length in pixels.shape[:2])
    if min(height, width) < LEAST:
        raise StyleError(f"{path}: {width} x {height} px are left of it; give a larger --side, or a picture that is less narrow")
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels).resize((width, height), Image.Resampling.LANCZOS)
    values = np.asarray(picture, dtype=np.float32).reshape(height, width, channels)
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous().div(127.5).sub(1)


def _given(args: argparse.Namespace) -> tuple[AdaINGenerator, Tensor, list[Tensor]]:
    """The generator of the checkpoint, the content and the styles. Raises StyleError where it has no styles to mix."""
    check_file(args.output)
    generator = load_generator(args.checkpoint, args.device)
    if not isinstance(generator, AdaINGenerator):
        raise StyleError(
            f"{args.checkpoint}: a generator of {generator.info.model['architecture']}, which has no styles to mix; give one of "
            "adain, or make its pictures by python -m components.generate"
        )
    multiple = SHRINKAGE[generator.settings.layer]
    side = args.side or generator.shape.resolution
    content, *styles = (
        read(path, side, multiple, generator.shape.channels).to(args.device) for path in (args.content, *args.style)
    )
    return generator, content, styles


def _shares(args: argparse.Namespace) -> list[float]:
    """How much of each style there is, 1 in all. Raises StyleError."""
    count = len(args.style)
    if args.mask:
        if args.shares or len(args.mask) != count:
            raise StyleError(f"--mask: {len(args.mask)} masks for {count} styles; give one for each, and no --shares")
        return [1.0] * count
    shares = args.shares or [1.0] * count
    if len(shares) != count or not sum(shares):
        raise StyleError(f"--shares: {len(shares)} for {count} styles; give one for each, not all of them 0")
    return [share / sum(shares) for share in shares]


def _mask(path: Path, content: Tensor) -> Tensor:
    """Where a style goes, [1, 1, H, W] in [0, 1], of the content's sides."""
    kind = Picture(channels=1, resolution=1)
    with naming(path, kind):
        pixels = flat(path.read_bytes(), recipe_of(kind)).pixels
    values = torch.from_numpy(pixels[..., 0].astype(np.float32))[None, None] / 255
    return F.interpolate(values, content.shape[2:], mode="bilinear", antialias=True).clamp(0, 1).to(content.device)


def _write(args: argparse.Namespace, made: Tensor, weights: str, styles: Sequence[Path]) -> None:
    pixels = to_uint8(made)[0].transpose(1, 2, 0)
    _save(args, Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels), weights, styles)


def _save(args: argparse.Namespace, picture: Image.Image, weights: str, styles: Sequence[Path]) -> None:
    names = {"content": args.content} | {f"style {number}": path for number, path in enumerate(styles, 1)}
    given = {name: path.read_bytes() for name, path in names.items()}
    atomic_write(args.output, labelled(picture, {"weights": weights}, given))
    print(f"{args.output}: {picture.width} x {picture.height} px")


def _table(history: Sequence[Losses]) -> str:
    """The losses as CSV, a row for each evaluation."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, ["evaluation", *history[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"evaluation": number, **losses} for number, losses in enumerate(history, 1))
    return buffer.getvalue()


def _chart(history: Sequence[Losses]) -> str:
    """The losses of content and layers as an SVG picture."""
    shown = {name: values for name, values in columns(history).items() if name not in ("total", "style", "variation")}
    series = [  # what is 0 has no place on a logarithmic axis
        Series(name, [(float(n), value or math.nan) for n, value in enumerate(values, 1)]) for name, values in shown.items()
    ]
    chart = line_chart(series, "losses over evaluations", logarithmic=True, unit="evaluations")
    strokes = "".join(f".line.s{number}{{stroke:{color}}}" for number, color in enumerate(COLORS, 1))
    legend = "".join(
        f'<text x="{8 + 84 * (number % 4)}" y="{14 + 14 * (number // 4)}" font-size="11" font-family="sans-serif" '
        f'fill="{COLORS[number]}">{escape(name)}</text>'
        for number, name in enumerate(shown)
    )
    inner = chart.replace("<svg ", f'<svg y="{HEADING}" width="340" height="180" ', 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 340 {180 + HEADING}" width="680" height="{2 * (180 + HEADING)}">'
        f'<style>{LOOKS}{strokes}</style><rect width="100%" height="100%" fill="white"/>{legend}{inner}</svg>\n'
    )
