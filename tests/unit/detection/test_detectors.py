"""Detectors under the protocol: what they find in generators that they have not seen, and what they cannot find."""

from __future__ import annotations

import numpy as np
import pytest

from atelier.detection import network, protocol
from atelier.detection.curves import auc
from atelier.detection.detectors import SCALARS, Detector, Network, Residuals, Scalar, Spectrum, log_spectrum
from atelier.detection.protocol import PLAIN, Pictures, Result
from atelier.detection.residuals import residuals
from tests.support.upsampled import MODES, SIDE, like, upsampled

LEARNT, TESTED = 240, 100


@pytest.fixture(scope="module")
def origins() -> dict[str, Pictures]:
    """Two generators that upsample, and real images whose spectra are theirs."""
    real = [
        np.concatenate([like(mode, count // 2, seed + place) for place, mode in enumerate(MODES)])[
            np.random.default_rng(seed).permutation(count)
        ]
        for seed, count in ((10, 2 * LEARNT), (20, TESTED))
    ]
    made = {mode: Pictures(upsampled(mode, 2 * LEARNT, 30), upsampled(mode, TESTED, 40)) for mode in MODES}
    return {"real": Pictures(*real), **made}


def measured(detector: Detector, origins: dict[str, Pictures], families: dict[str, str] | None = None) -> Result:
    learnt = {name: one.learnt[None] for name, one in origins.items()}  # as they are, which is quicker
    tested = {name: {PLAIN: one.tested} for name, one in origins.items()}
    seen = protocol.seen(detector, learnt, tested)
    generated = {name: one for name, one in seen.items() if name != "real"}
    return protocol.measured(detector, seen["real"], generated, families or {one: one for one in generated}, 0.05, 0, False)


def test_the_network_finds_upsampling_that_the_spectrum_does_not_show() -> None:
    mode = MODES[0]
    found = {}
    detectors: list[Detector] = [Network(1, 12_800), Spectrum()]
    for detector in detectors:
        real, generated = (detector.rows(draw(mode, 400, seed))[None] for seed, draw in ((1, like), (2, upsampled)))
        done = detector.learn(real, generated, seed=0, progress=False)
        found[detector.kind] = auc(*(done.scores(done.rows(draw(mode, 200, seed))) for seed, draw in ((3, like), (4, upsampled))))
    assert found["network"] > 0.9
    assert 0.4 < found["spectrum"] < 0.6


def test_the_spectrum_finds_what_differs_in_it(origins: dict[str, Pictures]) -> None:
    white = {mode: Pictures(_white(one.learnt, 1), _white(one.tested, 2)) for mode, one in origins.items() if mode != "real"}
    result = measured(Spectrum(), {"real": origins["real"], **white})
    assert result.mean_auc() > 0.99 and result.mean_found() > 0.9 and result.mean_false_positives() < 0.15


def _white(like: np.ndarray, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(128, 40, like.shape).clip(0, 255).astype(np.uint8)


def test_the_left_out_generator_is_not_learnt_from(origins: dict[str, Pictures], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[np.ndarray] = []

    class Asked(Spectrum):
        def learn(self, real: np.ndarray, generated: np.ndarray, seed: int, progress: bool = True) -> Asked:
            asked.append(generated)
            return self.with_lines(super().learn(real, generated, seed).lines or pytest.fail("no lines"))

    measured(Asked(), origins)
    for mode, generated in zip(reversed(MODES), asked, strict=True):
        expected = log_spectrum(origins[mode].learnt)
        assert np.array_equal(generated[0], expected[: generated.shape[1]]) and generated.shape[1] == 408  # 85 % of 480


def test_all_generators_of_a_family_are_left_out(origins: dict[str, Pictures]) -> None:
    counts: list[int] = []

    class Asked(Spectrum):
        def learn(self, real: np.ndarray, generated: np.ndarray, seed: int, progress: bool = True) -> Asked:
            counts.append(generated.shape[1])
            return self.with_lines(super().learn(real, generated, seed).lines or pytest.fail("no lines"))

    one, two = MODES
    families = {one: "a", two: "b", "sister": "a"}
    result = measured(Asked(), {**origins, "sister": origins[one]}, families)
    assert counts == [408, 408]  # all of the one of family b; 204 each of the two of family a
    assert list(result.unseen) == [one, "sister", two]
    assert result.unseen[one].auc(PLAIN) == result.unseen["sister"].auc(PLAIN)
    assert protocol.most_learnt(480, families) == 408


def test_what_tells_in_one_version_alone_is_found_there() -> None:
    """The second column says which version it is; generated rows are higher in the first version, and lower in the second."""
    random = np.random.default_rng(0)

    def rows(sign: int, count: int) -> np.ndarray:
        values = random.normal(size=(2, count, 2)) * [1.0, 0.1]
        return values + np.array([[[sign, 0.0]], [[-sign, 3.0]]])

    done = Spectrum(look=lambda images: images).learn(rows(-1, 300), rows(1, 300), seed=0)
    real, generated = rows(-1, 200), rows(1, 200)
    for version in (0, 1):
        assert auc(done.scores(real[version]), done.scores(generated[version])) > 0.85


def test_residuals_find_upsampling() -> None:
    mode = MODES[0]
    real, generated = (residuals(draw(mode, 200, seed))[None] for seed, draw in ((1, like), (2, upsampled)))
    done = Residuals().learn(real, generated, seed=0)
    assert auc(*(done.scores(residuals(draw(mode, 100, seed))) for seed, draw in ((3, like), (4, upsampled)))) > 0.9


def test_residuals_are_counted_triples() -> None:
    image = np.array([[0, 1, 3, 3, 255], *[[9, 9, 9, 9, 9]] * 3], np.uint8)
    found = np.square(residuals(image[None, None])[0])
    assert 20 * found[:8] == pytest.approx([1, 2, 2, 4, 4, 4, 19, 19], abs=1e-5)  # of up to 0, 1, 2, 3, 5, 8, 12, 20
    assert 20 * found[8:16] == pytest.approx([1] * 8, abs=1e-5)
    across = found[16 : 16 + 125].reshape(5, 5, 5)  # of up to -2, -1, 0, 1, 2 levels
    expected = np.zeros((5, 5, 5))
    expected[3, 4, 2], expected[4, 2, 4], expected[2, 2, 2] = 1 / 8, 1 / 8, 6 / 8
    assert np.allclose(across, expected, atol=1e-6)
    assert found.shape == (516,)


def test_equal_seeds_make_equal_networks(origins: dict[str, Pictures]) -> None:
    real, made = (origins[name].learnt[None, :64] for name in ("real", MODES[0]))
    first, again, other = (
        network.scores(network.fit(real, made, 320, seed, "", progress=False), origins["real"].tested) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    alone = network.scores(network.fit(real, made, 320, 1, "", progress=False), origins["real"].tested[3:4])
    assert alone == first[3]


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("values at levels 1 to 5", [[0, 1], [5, 6]], 0.5),
        ("values as their neighbor", [[9, 9], [1, 2]], 0.5),
        ("values at 0 or 255", [[0, 255], [255, 7]], 0.75),
        ("power of high frequencies", [[0, 90], [90, 0]], 0.0),  # all of it, whose logarithm this is
    ],
)
def test_single_numbers(name: str, image: list[list[int]], expected: float) -> None:
    assert SCALARS[name](np.array(image, np.uint8)[None, None]) == pytest.approx(expected, abs=1e-6)


def test_a_single_number_learns_its_direction() -> None:
    dark, bright = np.zeros((1, 40, 1)), np.ones((1, 40, 1))
    for real, generated in ((dark, bright), (bright, dark)):
        done = Scalar("", SCALARS["values at 0 or 255"]).learn(real, generated, seed=0)
        assert done.scores(generated[0]).min() > done.scores(real[0]).max()


def test_the_spectrum_keeps_the_power() -> None:
    images = upsampled(MODES[0], 4, seed=0)
    power = np.exp(log_spectrum(images)).sum(axis=1)
    assert np.allclose(power, np.square(images.astype(float)).sum(axis=(1, 2, 3)), rtol=1e-4)
    assert log_spectrum(images).shape == (4, SIDE * SIDE)
