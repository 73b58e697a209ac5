"""Task fusion as a process: killed and started again, on two ranks, fine-tuned; then measured, exported, served and asked."""

from __future__ import annotations

import base64
import copy
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from atelier.data.packed import PackedDataset
from atelier.extractors import sentences
from atelier.io.files import read_json
from atelier.metrics.evaluator import read_evaluation
from atelier.metrics.while_training import measure_while_training
from atelier.models.model import load_generator
from atelier.models.onnx import export_onnx
from atelier.models.pyfunc import ServedGenerator, input_example
from atelier.tasks.fusion.task import Fusion
from atelier.tracking.step_run import StepRun
from atelier.training.checkpoint import PretrainedModel, read_history
from atelier.training.distributed import Ranks
from atelier.training.run import run as train
from components.evaluate import evaluate
from components.generate import generate
from tests.support.annotated import vectors, wav
from tests.support.driver import pixel_distance
from tests.support.forked import Driver, Forked, two_ranks
from tests.support.fusion_tasks import BASE, SECTION, chosen, tones_fixture
from tests.support.registrations import run_fixture
from tests.support.registry_fixtures import store, tracking
from tests.support.rounding import apart

__all__ = ["run_fixture", "store", "tones_fixture", "tracking"]
CPU = torch.device("cpu")
EVERYTHING = (
    f"model.fusion={{{SECTION}, width_sound: 4, skips: true, dense: 8, whiten: true, noise: 0.5}}",
    "train.fusion={missing: 0.5, reconstruction: 1.0, nearest_of: 2}",
)
SHORT = ("train.images=96", "train.save_every=16", "train.log_every=16", "train.evaluate_every=48", "train.batch=8")


def test_killed_and_started_again_it_ends_with_the_same_bytes(tones: Path, tmp_path: Path) -> None:
    """Captions and recordings of a record are those of its position, whatever came before; how texts are whitened is kept."""
    settings = (*BASE, *SHORT, *EVERYTHING)
    whole = Driver(tones, tmp_path / "whole", tmp_path / "s", *settings)
    first = Driver(tones, tmp_path / "model", tmp_path / "states", *settings)
    while not first.stdout.readline().startswith("point 4"):
        pass
    first.tell(signal.SIGKILL)
    assert first.finish()[0] == -9
    assert whole.finish()[0] == 0
    code, out, err = Driver(tones, tmp_path / "model", tmp_path / "states", *settings).finish()
    assert code == 0 and int(out.split()[1]) >= 1, f"it begins anew: {err}"
    for name in ("generator.safetensors", "networks.safetensors"):
        assert (tmp_path / "model" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    curves = read_history(tmp_path / "model")["points"][-1].keys()
    assert {"diversity", "sound_retrieval", "sound_contrast", "code_divergence", "matching_penalty", "reconstruction"} <= curves


def test_two_ranks_are_two_micro_batches(tones: Path, tmp_path: Path) -> None:
    """Mismatches and contrast are among the records of a part, so that parts of one size give one run, up to rounding."""
    short = (*BASE, *SHORT, "train.images=32", "train.lr_generator=0.0001", "train.lr_discriminator=0.0001")
    parts = Driver(tones, tmp_path / "parts", tmp_path / "1", *short, "train.accumulate=2")
    assert parts.finish()[0] == 0
    ranks = two_ranks(lambda environment: Driver(tones, tmp_path / "model", tmp_path / "2", *short, environment=environment))
    assert [code for code, _, _ in ranks] == [0, 0], ranks
    whole = Driver(tones, tmp_path / "whole", tmp_path / "3", *short)
    assert whole.finish()[0] == 0
    of_parts, of_ranks, of_whole = (load_file(tmp_path / name / "networks.safetensors") for name in ("parts", "model", "whole"))
    assert apart(of_parts, of_ranks) < 0.001 < apart(of_parts, of_whole)


def test_two_ranks_end_alike(tones: Path, tmp_path: Path) -> None:
    """Networks, averages, moments and what is remembered are the same to the bit on both."""
    arguments = ("fusion", str(tones), str(tmp_path))
    first, second = two_ranks(lambda environment: Forked("rank_state", *arguments, environment=environment))
    assert first[0] == 0 and first[:2] == second[:2], (first, second)


def test_fine_tuned_from_a_trained_generator(tones: Path, tmp_path: Path) -> None:
    """All networks go on from the parent's; the discriminator's first stages stay where they are frozen."""
    settings = chosen(*SHORT, "train.images=16", "finetune.images=8", "finetune.batch=8", "finetune.freeze_discriminator=1")
    assert settings.finetune
    sets = {"data": PackedDataset(tones)}
    measure, by = pixel_distance(sets["data"]), {"metric": "pixel_distance"}
    base, child = tmp_path / "base", tmp_path / "child"
    train(Fusion, settings.model, settings.train, sets, base, tmp_path / "1", measure, by, CPU, Ranks(), git={})
    start = PretrainedModel(base)
    infos = train(
        Fusion, settings.model, settings.finetune, sets, child, tmp_path / "2", measure, by, CPU, Ranks(), git={}, start=start
    )
    parent = infos["generator"].parent
    assert parent is not None and parent["sha256"] == load_generator(base).sha256

    fresh = Fusion.build(settings.model, settings.finetune, sets)
    average = copy.deepcopy(fresh.generator)
    start.load(fresh, {"generator": average}, sets)
    before, after = (load_file(folder / "networks.safetensors") for folder in (base, child))
    begun = {f"{name}.{key}": value for name, one in fresh.networks.items() for key, value in one.state_dict().items()}
    assert begun.keys() == before.keys() and all(torch.equal(value, before[key]) for key, value in begun.items())
    averaged = load_generator(base).state_dict()
    assert all(torch.equal(value, averaged[key]) for key, value in average.state_dict().items())
    kept = {key for key in before if torch.equal(before[key], after[key])}
    kept -= {"discriminator.head.bias"}  # which hinge pulls up and down alike while no logit is beyond a margin
    assert kept == {"discriminator.first.weight", "discriminator.first.bias"}


def test_measured_exported_served_and_asked(tones: Path, run: StepRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16, measured by held-out records: each class by its text, by its sound, by both and by pairs that disagree."""
    small = "train.evaluate_samples=16", "evaluate.samples=24"
    settings = chosen(*SHORT, "model.fusion.skips=true", "train.precision=bfloat16", *small)
    sets = {"data": PackedDataset(tones)}
    measure, by = measure_while_training(Fusion, settings.train, settings.evaluate, sets, tmp_path / "cache", Ranks(), CPU)
    model = tmp_path / "model"
    train(Fusion, settings.model, settings.train, sets, model, tmp_path / "states", measure, by, CPU, Ranks(), git={})
    evaluate(settings.evaluate, "tones", model, tones, tmp_path / "out", tmp_path / "cache", device="cpu")
    found = read_evaluation(tmp_path / "out" / "evaluation.json")
    shares = {one.name: one for one in found.measurements if one.name.startswith(("class_read", "mismatch"))}
    assert len(shares) == 9 and shares["class_read_real"].value > 0.9, "bars are told apart by where they are"
    assert shares["mismatch_text"].value + shares["mismatch_sound"].value <= 1
    held_out = f"records of {sets['data'].content_hash}:test, drawn by the seed"
    assert shares["class_read_sound"].identity.sampling == f"made of sound of {held_out}"
    assert {
        "frechet_efficientnet_lite0",
        "text_frechet_efficientnet_lite0",
        "sound_frechet_efficientnet_lite0",
        "originality",
    } <= found.flat.keys()

    assert 0 <= export_onnx(model, tmp_path / "one.onnx") <= 1e-4
    monkeypatch.setattr(sentences, "embed_texts", vectors)
    served = ServedGenerator(model, "cpu")
    assert served.columns == ["seed", "latent", "text", "audio", "guidance"]
    assert served.predict(input_example(served.info)).shape == (2, 28, 28, 1)
    sound = base64.b64encode(wav(300)).decode()
    told: list[dict[str, Any]] = [{}, {"text": "low"}, {"audio": sound}, {"text": "low", "audio": sound}]
    told += [told[3] | {"guidance": 2.0}, told[3] | {"guidance": 0.0}]
    images = served.generate(served.read([{"seed": 1} | one for one in told]))
    assert len(np.unique(images[:5], axis=0)) == 5 and np.array_equal(images[0], images[5])

    (tmp_path / "low.wav").write_bytes(wav(300))
    asked = ["text=low", f"audio={tmp_path / 'low.wav'}", "guidance=2"]
    generate(model, tmp_path / "made", tmp_path / "cache", count=2, seed=1, inputs=asked, device="cpu")
    made = np.asarray(Image.open(tmp_path / "made" / "000000.png")).astype(int)
    # Two images at once and six round differently: of 200 sets of random weights 15 had a byte that differed.
    np.testing.assert_allclose(made, images[4, ..., 0].astype(int), rtol=0, atol=1)
    (entry, _) = read_json(tmp_path / "made" / "manifest.json")["images"]
    assert (entry["text"], entry["guidance"], len(entry["audio"])) == ("low", 2.0, 64), "the recording by its hash"
