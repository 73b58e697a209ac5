"""How long does an FID take, and how much memory? Atelier beside torch-fidelity and pytorch-fid, on the same files and cores.

Two folders of PNG files of 64 px are measured by each command line as its users run it, in a process of its own: start, reading,
network and distance. Every side gets the same seeded weights, in the shape of the published ones, so that nothing is fetched and
the distances can be compared in the same run. Memory is the peak of the largest process. The matrix part is timed alone on
features whose spectrum decays. The bound is the network's forward for as many images that are already decoded.

    make bench-metrics
    .venv/bin/python -m benchmarks.metrics --images 200
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pytorch_fid.fid_score import calculate_frechet_distance
from torch.utils.flop_counter import FlopCounterMode
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from atelier.data.sources.embedded import mnist_5k
from atelier.extractors.inception import inception
from atelier.metrics.frechet import Moments, frechet_distance, frechet_estimate
from benchmarks.measured import machine, show, table, watched
from benchmarks.seeded_inception import SeededInception
from components import cli

SIDE, DIM, SEED = 64, 2048, 0
FORWARD_IMAGES, REPEATS = 128, 3
# Each takes the weights first, in place of the published file, and then what its command line takes.
OURS = """
import hashlib, pathlib, runpy, sys
from atelier.extractors import inception
inception.INCEPTION_SHA256 = hashlib.sha256(pathlib.Path(sys.argv[1]).read_bytes()).hexdigest()
sys.argv[1:2] = ["--weights", sys.argv[1]]
runpy.run_module("components.evaluate", run_name="__main__")
"""
PYTORCH_FID = """
import sys, torch
from pytorch_fid import fid_score, inception
weights = sys.argv.pop(1)
inception.load_state_dict_from_url = lambda url, progress: torch.load(weights, weights_only=True)
fid_score.main()
"""


@dataclasses.dataclass(frozen=True)
class Run:
    """A command from start to end: seconds, the peak of its largest process in MB, and the distance that it printed."""

    seconds: float
    megabytes: float
    distance: float


def digits(count: int, folder: Path) -> tuple[Path, Path]:
    """Two folders of `count` PNG files each: MNIST digits, none in both, in seeded colors, drawn to 64 px."""
    random = np.random.default_rng(SEED)
    source = mnist_5k()
    (chunk,) = source.chunks(source.count, range(source.count))
    folders = folder / "generated", folder / "reference"
    for target, rows in zip(folders, np.array_split(random.permutation(source.count), 2), strict=True):
        target.mkdir()
        for number in range(count):
            digit = Image.fromarray(chunk.images[rows[number % len(rows)]]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            paper, ink = random.integers(0, 256, (2, 3))
            pixels = paper + (ink - paper) * (np.asarray(digit)[..., None] / 255)
            Image.fromarray(pixels.round().astype(np.uint8)).save(target / f"{number:06}.png")
    return folders


def run(name: str, command: Sequence[str], before: str, environment: Mapping[str, str] | None = None) -> Run:
    """Runs a side's command; its distance is the number that follows `before` on stdout."""
    done = watched(f"end to end: {name}", command, environment)
    found = re.search(re.escape(before) + r"\s*([-+.e\d]+)", done.stdout)
    if not found:
        sys.exit(f"{name} printed no distance: {done.stdout}")
    return Run(done.seconds, done.megabytes, float(found[1]))


def sides(count: int, device: str, folder: Path) -> dict[str, tuple[list[str], str]]:
    """Each side's command line on the same folders, which are made here, and ours once more with the reference cached by then.

    With what stands before the distance in what it prints.
    """
    weights = str(folder / "weights.pth")
    torch.save(SeededInception(SEED).state_dict(), weights)
    generated, reference = map(str, digits(count, folder))
    ours = ["-c", OURS, weights, "--generated", generated, "--reference", reference, "--extractor", "inception"]
    ours += ["--metrics", "frechet", "--cache", str(folder / "cache"), "--device", device, "--json"]
    fidelity = ["-m", "torch_fidelity.fidelity", "--input1", generated, "--input2", reference, "--fid"]
    fidelity += ["--feature-extractor-weights-path", weights, *(["--cpu"] if device == "cpu" else ["--gpu", "0"])]
    return {
        "torch-fidelity": (fidelity, "frechet_inception_distance:"),
        "pytorch-fid": (["-c", PYTORCH_FID, weights, generated, reference, "--device", device], "FID:"),
        "Atelier": (ours, '"fid":'),
        "Atelier, reference cached": (ours, '"fid":'),
    }


def shortest(work: Callable[[], object], device: str = "cpu", repeats: int = REPEATS) -> float:
    """Seconds of the shortest of some repeats."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def bound(count: int, device: str) -> tuple[float, list[str]]:
    """Seconds of our network alone for `count` decoded images, and lines that say how near that is to the processor's peak."""
    network = SeededInception(SEED)
    extractor = inception(network.state_dict(), "", (SIDE, SIDE), device=device)
    images = np.random.default_rng(SEED).integers(0, 256, (FORWARD_IMAGES, 3, SIDE, SIDE), dtype=np.uint8)
    seconds = shortest(lambda: extractor.features(images), device) * count / len(images)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.from_numpy(images[:1]))
    flops = counter.get_total_flops()
    matrix = torch.randn(4096, 4096, device=device)
    peak = 2 * 4096**3 / shortest(lambda: matrix @ matrix, device, 10)
    reached = flops * count / seconds
    return seconds, [
        f"The network's forward alone, {count:,} images in memory: {seconds:.1f} s, {count / seconds:.1f} images/s. "
        f"At {flops / 1e9:.2f} GFLOP an image that is {reached / 1e9:.0f} GFLOP/s, "
        f"{reached / peak:.0%} of what a float32 matrix product reaches here ({peak / 1e9:.0f} GFLOP/s).",
    ]


def features(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets float32 [count, 2048] whose k-th deviation is near 1 / k, in directions that no axis follows."""
    random = np.random.default_rng(SEED)
    axes, _ = np.linalg.qr(random.standard_normal((DIM, DIM)))
    spectrum = 1 / np.arange(1, DIM + 1)
    one, other = (random.standard_normal((count, DIM)) * scale @ axes for scale in (spectrum, spectrum**1.1))
    return one.astype(np.float32), (other + 0.01).astype(np.float32)


def matrix_part(count: int) -> dict[str, tuple[float, float | None, str]]:
    """Seconds, distance and what went wrong, from the statistics of `count` features on each side to the distance."""
    both = features(count)
    theirs = [fid_features_to_statistics(torch.from_numpy(part.astype(np.float64))) for part in both]
    arguments = [part[name] for part in theirs for name in ("mu", "sigma")]
    moments = [Moments(DIM), Moments(DIM)]
    for each, part in zip(moments, both, strict=True):
        each.update(part)
    ways: dict[str, Callable[[], float]] = {
        "torch-fidelity": lambda: fid_statistics_to_metric(*theirs, verbose=False)[KEY_METRIC_FID],
        "pytorch-fid": lambda: float(calculate_frechet_distance(*arguments)),
        "Atelier": lambda: frechet_distance(*moments),
        "Atelier, with the standard error": lambda: frechet_estimate(both[0], *moments)[0],
    }
    found: dict[str, tuple[float, float | None, str]] = {}
    for name, way in ways.items():
        print(f"matrix part, {count} features: {name} ...", file=sys.stderr)
        began = time.perf_counter()
        try:
            value, trouble = way(), ""
        except ValueError as error:  # pytorch-fid's, where a covariance is singular
            value, trouble = None, str(error)
        found[name] = time.perf_counter() - began, value, trouble
    return found


def apart(value: float, from_: float) -> str:
    """A relative difference, as shown."""
    return f"{abs(value / from_ - 1):.1e}"


def report(count: int, device: str) -> Iterator[str]:
    """Lines of the report, each part as soon as it is measured."""
    gpu = None if device == "cpu" else torch.cuda.get_device_name()
    yield machine(("torch", "torch-fidelity", "pytorch-fid"), gpu)
    yield ""
    seconds, lines = bound(2 * count, device)
    with tempfile.TemporaryDirectory() as scratch:
        runs = {name: run(name, *side) for name, side in sides(count, device, Path(scratch)).items()}
    peer, ours = runs["torch-fidelity"], runs["Atelier"]
    rows = [
        [
            name, f"{one.seconds:.1f}", f"{peer.seconds / one.seconds:.2f}", f"{one.megabytes:.0f}",
            f"{one.megabytes / peer.megabytes:.2f}", f"{one.distance:.7g}", apart(one.distance, peer.distance),
        ]
        for name, one in runs.items()
    ]  # fmt: skip
    header = ["end to end", "s", "times as fast", "peak, MB", "of the memory", "distance", "relative difference"]
    yield from (f"{count:,} against {count:,} images of {SIDE} px, ratios to torch-fidelity:", "", *table(header, rows), "")
    yield from lines
    yield f"From start to end Atelier takes {ours.seconds / seconds:.2f} times that."
    for number in (1000, 5000):
        parts = matrix_part(number)
        _, expected, _ = parts["torch-fidelity"]
        assert expected
        rows = [
            [name, f"{took:.2f}", apart(value, expected) if value is not None else trouble]
            for name, (took, value, trouble) in parts.items()
        ]
        yield from ("", *table([f"matrix part, {number:,} features of {DIM} a side", "s", "relative difference"], rows))


def main() -> None:
    """Measures, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, metavar="N", help="files on each side (default: 1000)")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default: cpu")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the tables there, too")
    args = parser.parse_args()
    show(report(args.images, args.device), args.output)


if __name__ == "__main__":
    cli.run(main)
