"""Recipe denoise: simulated star fields against their catalogs, what files hold of them, and what photometry says of fields."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atelier.data import packages, wallpapers
from tests.support.small import ROOT

SIDE = 128


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "recipes" / "denoise")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["get_images.py"])


@pytest.fixture(name="stars")
def stars_fixture() -> ModuleType:
    return importlib.import_module("star_fields")


@pytest.fixture(name="photometry")
def photometry_fixture() -> ModuleType:
    return importlib.import_module("photometry")


def test_a_star_has_the_light_of_its_catalog(stars: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it but what a Moffat profile has beyond REACH; half of its peak at half its width."""
    monkeypatch.setattr(stars, "CROWDING", (1e-9, 1e-9))
    monkeypatch.setattr(stars, "GALAXIES", 0.0)
    empty = stars.simulate(SIDE, 0)
    assert not empty.sources and empty.photons.min() > 50
    for width, beta in ((2.0, 4.5), (3.4, 2.5)):
        x = np.arange(-30, 31) - 0.3
        light = stars.moffat(np.hypot(x, x[:, None]), width, beta)
        beyond = (1 + (30 / (width / (2 * (2 ** (1 / beta) - 1) ** 0.5))) ** 2) ** (1 - beta)  # Moffat 1969, integrated
        assert light.sum() == pytest.approx(1 - beyond, abs=2e-3)
        assert stars.moffat(np.array([width / 2]), width, beta) == pytest.approx(stars.moffat(np.zeros(1), width, beta) / 2)
    disc = stars.disc(np.arange(-90, 91.0), np.arange(-90, 91.0)[:, None], 5.0, 0.6, 1.0)
    assert disc.sum() == pytest.approx(1, abs=5e-3)


def test_a_field_follows_from_its_seed_and_holds_what_its_catalog_says(stars: ModuleType) -> None:
    one, again, other = (stars.simulate(SIDE, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.photons, again.photons)
    assert one.sources == again.sources != other.sources
    sky = np.median(one.photons, axis=(0, 1))
    brightest = max((source for source in one.sources if source.kind == "star"), key=lambda source: float(source.green))
    row, column = round(brightest.y), round(brightest.x)
    assert one.photons[row, column, 1] > sky[1] + 0.03 * brightest.green


def test_a_camera_counts_photons_with_its_noise(stars: ModuleType) -> None:
    counted = stars.observed(np.full((200, 200, 3), 100.0), np.random.default_rng(0))
    hot = counted > 200
    assert hot.mean() == pytest.approx(stars.HOT * 0.99, abs=4 * (stars.HOT / counted.size) ** 0.5)
    assert counted[~hot].mean() == pytest.approx(100, abs=0.2)
    assert counted[~hot].var() == pytest.approx(100 + stars.READ_NOISE**2, rel=0.03)


def test_files_keep_the_mean_of_what_is_faint(stars: ModuleType, tmp_path: Path) -> None:
    """8 bits are rounded at random, in a third of the pixels here; 16 bits to the nearest, within a 65535th of the root."""
    root = (100 + 1 / 3) / 255
    photons = np.full((100, 100, 3), root**2 * stars.WHITE)
    stars.write_8_bits(tmp_path / "8.png", photons, np.random.default_rng(0))
    with Image.open(tmp_path / "8.png") as image:
        levels = np.asarray(image)
    assert {*np.unique(levels)} == {100, 101} and levels.mean() == pytest.approx(100 + 1 / 3, abs=0.01)
    stars.write_16_bits(tmp_path / "16.png", photons)
    read = importlib.import_module("photometry").read(tmp_path / "16.png")
    np.testing.assert_allclose(read, photons, rtol=1 / 65535 / root)


def test_photometry_says_what_was_done_to_stars(stars: ModuleType, photometry: ModuleType) -> None:
    """Nothing was; all stars lost a tenth of their light; one star more."""
    fields = [stars.simulate(256, seed) for seed in (3, 4)]
    noisy = [stars.observed(field.photons, np.random.default_rng(0)) for field in fields]
    true = [field.photons for field in fields]
    skies = [np.median(photons, axis=(0, 1)) for photons in true]
    dimmed = [sky + 0.9 * (photons - sky) for photons, sky in zip(true, skies, strict=True)]
    far = np.array([[one.x, one.y] for one in fields[0].sources])
    rows, columns = np.mgrid[:256, :256]
    y, x = max(((y, x) for y in range(20, 236, 4) for x in range(20, 236, 4)), key=lambda at: np.hypot(*(far - at[::-1]).T).min())
    more = [true[0] + 4000 * stars.moffat(np.hypot(rows - y, columns - x), 2.5, 3.0)[..., None], true[1]]
    measured: dict[str, Any] = photometry.measure(fields, {"noisy": noisy, "truth": true, "dimmed": dimmed, "more": more})
    assert measured["truth"]["bright_error"] == 0 and measured["truth"]["complete"][-1] > 0.95, "but blends"
    assert measured["dimmed"]["bias"] == pytest.approx([-0.1] * 4, abs=0.001) and measured["dimmed"]["bright_within"] == 0
    area = 2 * (256 - 2 * photometry.EDGE) ** 2 / 1e6
    assert measured["more"]["invented"] - measured["truth"]["invented"] == pytest.approx(1 / area)
    assert 0.003 < measured["noisy"]["bright_error"] < 0.03, "the noise of photons"
    assert "flux error above 5,000" in photometry.table(dict.fromkeys(photometry.NAMES, measured["truth"]))
    photometry.check(measured["truth"])
    with pytest.raises(photometry.PhotometryError, match=r"more than (10\.0|9\.9).% off"):
        photometry.check(measured["dimmed"])


def test_a_classical_filter_takes_hot_pixels_and_leaves_stars(stars: ModuleType, photometry: ModuleType) -> None:
    offsets = np.arange(64) - 32
    clean = 100 + 20_000 * stars.moffat(np.hypot(offsets, offsets[:, None]), 2.0, 4.0)[..., None].repeat(3, axis=2)
    noisy = np.random.default_rng(0).poisson(clean).astype(float)
    noisy[10, 10, 1] = 8_000
    found = photometry.classical(noisy)
    assert found[10, 10, 1] < 130 and found[32, 32].min() > 0.9 * clean[32, 32, 0]
    assert (found - clean)[40:, 40:].std() < 0.5 * (noisy - clean)[40:, 40:].std()


def test_get_images_brings_photos_and_fields(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def bring(folder: Path) -> str:
        folder.mkdir()
        return "0 photos"

    monkeypatch.setattr(wallpapers, "bring", bring)
    script = importlib.import_module("get_images")
    monkeypatch.setattr(script, "FIELDS", 2)
    monkeypatch.setattr(script, "SIDE", SIDE)
    script.main()
    assert {path.name for path in Path("images").iterdir()} == {"photos", "stars", "catalogs", packages.NOTICE}
    with Image.open("images/stars/1001.png") as image:
        assert image.size == (SIDE, SIDE) and image.mode == "RGB"
    rows = list(csv.DictReader(Path("images/catalogs/1001.csv").read_text().splitlines()))
    assert rows[0].keys() == {"kind", "x", "y", "red", "green", "blue"} and {row["kind"] for row in rows} <= {"star", "galaxy"}
    assert "2 simulated fields" in capsys.readouterr().out
