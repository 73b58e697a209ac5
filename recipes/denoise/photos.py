"""Shows and measures what a denoiser makes of held-out photos, beside non-local means and beside the noisy ones.

Squares of the held-out photos get Gaussian noise of one strength, as the denoising literature has it. Non-local means is told
that strength, the model is not.

    python photos.py --model models/photos --noise 25

prints the mean PSNR of all, and writes comparison.png and the squares into comparison/.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from photometry import denoise, non_local_means
from PIL import Image

from atelier import command_line
from atelier.data.packed import PackedDataset
from atelier.errors import AtelierError
from atelier.io.files import atomic_folder, atomic_write
from atelier.io.pictures import grid, png
from atelier.io.progress import bar

OUTPUT, PICTURE = Path("comparison"), "comparison.png"
PHOTOS = Path("data/photos")
SHOWN = 4  # squares of the picture
NAMES = "noisy", "non-local means", "denoised"


class PhotosError(AtelierError):
    """What is asked for cannot be measured."""


def main() -> None:
    """Adds noise, denoises, measures and shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/photos", help="a checkpoint, or models:/NAME@ALIAS (default: models/photos)")
    parser.add_argument("--noise", type=float, default=25.0, help="its deviation in levels of 255 (default: 25)")
    parser.add_argument("--count", type=int, default=32, help=f"squares, at least {SHOWN} (default: 32)")
    args = parser.parse_args()
    held_out = PackedDataset(PHOTOS, "test")
    if not SHOWN <= args.count <= len(held_out) or args.noise <= 0:
        raise PhotosError(f"--count is {args.count} and --noise {args.noise:g}; give {SHOWN} to {len(held_out)}, and more than 0")
    places = np.linspace(0, len(held_out) - 1, args.count).astype(int)
    clean = held_out.images(places).transpose(0, 2, 3, 1)  # uint8 [N, H, W, 3]
    random = np.random.default_rng(0)
    noisy = np.rint(clean + args.noise * random.standard_normal(clean.shape)).clip(0, 255).astype(np.uint8)
    with atomic_folder(OUTPUT, PICTURE) as folder:
        (folder / "noisy").mkdir()
        filtered = []
        with bar("filter", len(noisy)) as progress:
            for number, square in enumerate(noisy):
                Image.fromarray(square).save(folder / "noisy" / f"{number:06}.png")
                filtered.append(255 * non_local_means(square / 255, args.noise / 255))
                progress.update(1)
        denoise(args.model, folder / "noisy", folder / "denoised")
        made = np.stack([np.asarray(Image.open(folder / "denoised" / f"{number:06}.png")) for number in range(len(noisy))])
        kinds = [noisy, np.stack(filtered).clip(0, 255).round().astype(np.uint8), made]
        for name, kind in zip(NAMES, kinds, strict=True):
            print(f"{name}: {psnr(kind, clean).mean():.2f} dB")
        shown = np.argsort(clean.std(axis=(1, 2, 3)))[:: -max(1, args.count // SHOWN)][:SHOWN]  # from busy to flat
        rows = np.stack([kind[shown] for kind in (*kinds, clean)], axis=1).transpose(0, 1, 4, 2, 3)  # [squares, kinds, C, H, W]
        atomic_write(folder / PICTURE, png(grid(np.concatenate(rows), rows.shape[1])))


def psnr(images: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Of each of uint8 [N, H, W, C], in decibels, all channels, peak 255."""
    squares = (images.astype(float) - clean) ** 2
    return 10 * np.log10(255**2 / squares.mean(axis=(1, 2, 3)))


if __name__ == "__main__":
    command_line.run(main)
