"""Translators after their training: chosen and measured, reported, fed with files, exported, registered and served."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import onnxruntime
import pandas
import pytest
import torch
from mlflow.exceptions import MlflowException
from PIL import Image

from atelier.config.settings import Settings
from atelier.data.packed import PackedDataset
from atelier.io.files import sha256_file
from atelier.io.pictures import GAP
from atelier.metrics.evaluator import Evaluation, read_evaluation
from atelier.metrics.while_training import measure_while_training
from atelier.models.model import from_uint8, load_generator, to_uint8
from atelier.models.onnx import export_onnx
from atelier.project import Project
from atelier.report.gallery import PART, PART_GAP
from atelier.serving.app import application
from atelier.serving.follow import Follower
from atelier.serving.limits import Limits
from atelier.serving.metrics import Metrics
from atelier.tasks.find import find
from atelier.tracking.client import client
from atelier.tracking.step_run import StepRun
from atelier.training.checkpoint import read_history
from atelier.training.distributed import Ranks
from atelier.training.run import run as train
from components.evaluate import evaluate
from components.generate import MANIFEST, RequestError, generate, takes
from components.sheet import sheet
from tests.support.asgi import ask
from tests.support.driver import TINY
from tests.support.registrations import register, run_fixture
from tests.support.registry_fixtures import store, tracking
from tests.support.small import PARAMS
from tests.support.translation_fixtures import SIDE, drawings, learnt_from
from tests.support.translation_tasks import OF_TASKS, chosen

__all__ = ["drawings", "run_fixture", "store", "tracking"]
CPU = torch.device("cpu")
SETS = {"a_to_b": ("b", "a"), "b_to_a": ("a", "b"), "pix2pix": ("pairs", "pairs")}  # imitated and given
DIRECTIONS = ("a_to_b", "b_to_a")
SAMPLES = 16
Models = dict[str, Path]


def settings(name: str) -> Settings:
    metrics = "[frechet, kernel, l1, psnr]" if name == "pix2pix" else "[frechet, kernel]"
    measured = [f"evaluate.metrics={metrics}", f"evaluate.samples={SAMPLES}", f"train.evaluate_samples={2 * SAMPLES}"]
    floors = ["gate.min_coverage=0.0", "gate.min_recall=0.0"]
    slow = ["train.images=96", "train.evaluate_every=48", "train.evaluate_from=0.5"]
    return chosen(name, *measured, *floors, *slow)


@pytest.fixture(name="models", scope="module")
def models_fixture(drawings: Models, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Checkpoints that were chosen by their distance: of CycleGAN's two products, and of pix2pix."""
    made: Models = {}
    for name in ("cyclegan", "pix2pix"):
        folder, one, sets = tmp_path_factory.mktemp(name), settings(name), learnt_from(name, drawings)
        task = find(one.model.task)
        measure, measured_by = measure_while_training(task, one.train, one.evaluate, sets, folder / "cache", Ranks(), CPU)
        train(
            task, one.model, one.train, sets, folder / "model", folder / "states", measure, measured_by, CPU, Ranks(), git={}
        )  # fmt: skip
        made[name] = folder / "model"
    return {product: made["cyclegan"] / product for product in DIRECTIONS} | {"pix2pix": made["pix2pix"]}


def translated(model: Path, images: np.ndarray) -> np.ndarray:
    """uint8 [N, C, H, W] of uint8 [N, c, H, W]."""
    with torch.inference_mode():
        return to_uint8(load_generator(model)(image=from_uint8(torch.tensor(images))))


def test_the_best_checkpoint_is_best_in_the_mean_of_both_directions(models: Models) -> None:
    for name in DIRECTIONS:
        history = read_history(models[name])
        assert [one["images"] for one in history["evaluations"]] == [48, 96]
        for one in history["evaluations"]:
            distances = [one["metrics"][f"{product}/frechet_efficientnet_lite0"] for product in DIRECTIONS]
            assert one["value"] == pytest.approx(sum(distances) / 2) and distances[0] != distances[1]
    assert "frechet_efficientnet_lite0" in read_history(models["pix2pix"])["evaluations"][-1]["metrics"]


def measured(name: str, models: Models, drawings: Models, folder: Path) -> Evaluation:
    imitated, given = SETS[name]
    inputs = drawings[given] if given != imitated else None
    one = settings(name if name == "pix2pix" else "cyclegan")
    evaluate(
        one.evaluate, "translators", models[name], drawings[imitated], folder / name, folder / "cache", inputs=inputs,
        device="cpu",
    )  # fmt: skip
    return read_evaluation(folder / name / "evaluation.json")


@pytest.mark.usefixtures("tracking")
@pytest.mark.parametrize("name", ["a_to_b", "pix2pix"])
def test_measured_by_held_out_records(name: str, models: Models, drawings: Models, tmp_path: Path) -> None:
    found = measured(name, models, drawings, tmp_path)
    held_out, asked = (PackedDataset(drawings[one], "test") for one in SETS[name])
    identity = found["frechet_efficientnet_lite0"].identity
    assert identity.reference == f"{held_out.content_hash}:test" and identity.samples == SAMPLES
    assert identity.sampling == f"made from records of {asked.content_hash}:test, drawn by the seed"
    report = (tmp_path / name / "report.html").read_text()
    assert "data:image/png;base64" in report
    if name == "pix2pix":
        records = asked.read(np.arange(len(asked)))
        errors = abs(translated(models[name], records["input"]).astype(int) - records["target"]).mean(axis=(1, 2, 3))
        low, high = np.sort(errors)[[0, -1]] / 255
        assert low <= found["l1"].value <= high and found["l1"].value != found["input_l1"].value

    grid = np.asarray(Image.open(tmp_path / name / "grid.png"))[::2, ::2].transpose(2, 0, 1)
    wide = PART // SIDE * (SIDE + GAP) - GAP + PART_GAP  # of each part: given, generated and real
    cells = [grid[:, :SIDE, left : left + SIDE] for left in range(0, grid.shape[2], wide)]
    assert len(cells) == 3
    first = cells[0][: 1 if name == "pix2pix" else 3]
    given = asked.read(np.arange(len(asked)))["input" if name == "pix2pix" else "image"]
    assert first.tobytes() in {one.tobytes() for one in given}
    assert np.abs(cells[1].astype(int) - translated(models[name], first[None])[0]).max() <= 1
    real = {one.tobytes() for one in held_out.images(np.arange(len(held_out)))}
    assert cells[2].tobytes() in real and cells[1].tobytes() not in real


def test_a_project_shows_translations_of_held_out_pictures(models: Models, drawings: Models, tmp_path: Path) -> None:
    shutil.copyfile(PARAMS, tmp_path / "params.yaml")
    for place, there in (("data/base", drawings["a"]), ("data/target", drawings["b"]), ("models/base", models["a_to_b"].parent)):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).symlink_to(there)
    part = ["products.base.part=a_to_b", "products.base.inputs=base", "products.finetuned.part=a_to_b"]
    project = Project.load(tmp_path, [*TINY, *OF_TASKS["cyclegan"], *part])
    sheet = np.asarray(project.sample(4, seed=1))[::2, ::2]
    shown = {sheet[y : y + SIDE, x : x + SIDE].tobytes() for y in (0, SIDE + GAP) for x in (0, SIDE + GAP)}
    held_out = PackedDataset(drawings["a"], "test")
    every = translated(models["a_to_b"], held_out.images(np.arange(len(held_out)))).transpose(0, 2, 3, 1)
    cells = [np.frombuffer(one, np.uint8).reshape(SIDE, SIDE, 3).astype(int) for one in shown]
    assert len(cells) == 4 and all(min(np.abs(image - cell).max() for image in every) <= 1 for cell in cells)


@pytest.fixture(name="photos")
def photos_fixture(tmp_path: Path, encode: Callable[..., bytes]) -> Path:
    """A folder of pictures that are not as the model takes them: of another side, wide, and in a folder within."""
    random = np.random.default_rng(0)
    for name, shape in (("one.png", (SIDE, SIDE, 3)), ("two.png", (50, 70, 3)), ("deep/three.png", (64, 64, 3))):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(encode(random.integers(0, 256, shape, np.uint8)))
    return tmp_path / "photos"


def test_a_folder_of_pictures_is_translated(models: Models, photos: Path, tmp_path: Path) -> None:
    made = generate(models["a_to_b"], tmp_path / "out", tmp_path / "cache", inputs=[f"image={photos}"], device="cpu")
    assert len(made) == 3 and sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [one["file"] for one in made]
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    assert (manifest["task"], manifest["product"]) == ("translation", "a_to_b")
    given = np.array(Image.open(photos / "one.png")).transpose(2, 0, 1)[None]
    expected = translated(models["a_to_b"], given)[0].transpose(1, 2, 0)
    (place,) = (number for number, path in enumerate(sorted(photos.rglob("*.png"))) if path.name == "one.png")
    found = np.asarray(Image.open(tmp_path / "out" / made[place]["file"]))
    assert np.abs(found.astype(int) - expected).max() <= 1
    with pytest.raises(
        RequestError, match=r"--seed: this model does not take that; it takes\n--input image=PATH: pictures in color"
    ):
        generate(models["a_to_b"], tmp_path / "no", tmp_path / "cache", inputs=[f"image={photos}"], seed=1, device="cpu")
    with pytest.raises(RequestError, match=r"this model needs --input image=PATH"):
        generate(models["a_to_b"], tmp_path / "no", tmp_path / "cache", device="cpu")
    assert "pictures in gray" in takes(load_generator(models["pix2pix"]).info)


@pytest.mark.parametrize("name", ["a_to_b", "pix2pix"])
def test_pictures_keep_their_size_where_it_is_asked_for(name: str, models: Models, photos: Path, tmp_path: Path) -> None:
    folders = (tmp_path / "out", tmp_path / "cache")
    made = generate(models[name], *folders, inputs=[f"image={photos}"], size="own", device="cpu")
    given = sorted(photos.rglob("*.png"))
    assert [one["image"] for one in made] == [sha256_file(path) for path in given]
    sizes = [Image.open(tmp_path / "out" / one["file"]).size for one in made]
    assert sizes == [Image.open(path).size for path in given] and len({*sizes}) == 3
    with Image.open(next(path for path in given if path.name == "one.png")) as picture:  # of the trained size
        pixels = np.atleast_3d(np.array(picture.convert("L" if name == "pix2pix" else "RGB"))).transpose(2, 0, 1)
    found = np.array(Image.open(tmp_path / "out" / made[sizes.index((SIDE, SIDE))]["file"])).transpose(2, 0, 1)
    assert np.abs(found.astype(int) - translated(models[name], pixels[None])[0]).max() <= 1
    assert "3 images" in sheet(made, tmp_path / "out")


@pytest.mark.parametrize("name", ["b_to_a", "pix2pix"])
def test_exported_it_gives_what_pytorch_gives(name: str, models: Models, drawings: Models, tmp_path: Path) -> None:
    assert 0 <= export_onnx(models[name], tmp_path / "one.onnx") <= 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "one.onnx", providers=["CPUExecutionProvider"])
    channels = 1 if name == "pix2pix" else 3
    multiple = 32 if name == "pix2pix" else 2
    sides = [f"{multiple}*height", f"{multiple}*width"]
    assert [(one.name, one.shape) for one in session.get_inputs()] == [("image", ["N", channels, *sides])]
    given = PackedDataset(drawings["pairs" if name == "pix2pix" else "b"], "test").read(np.arange(5))
    images = from_uint8(torch.from_numpy(given["input" if name == "pix2pix" else "image"])).contiguous()
    (found,) = session.run(["images"], {"image": images.numpy()})
    with torch.inference_mode():
        expected = load_generator(models[name])(image=images).numpy()
    assert np.abs(found - expected).max() <= 1e-4 < 0.05 < found.std()


def in_base64(image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0).squeeze()).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("name", ["a_to_b", "pix2pix"])
def test_registered_and_served(name: str, models: Models, drawings: Models, run: StepRun, tmp_path: Path) -> None:
    found = measured(name, models, drawings, tmp_path)
    made = register(run, f"translator-{name}", models[name], found.measurements)
    client().set_registered_model_alias(f"translator-{name}", "champion", str(made.version))
    served = mlflow.pyfunc.load_model(f"models:/translator-{name}@champion")
    given = PackedDataset(drawings["pairs" if name == "pix2pix" else "a"], "test").read(np.arange(3))
    images = given["input" if name == "pix2pix" else "image"]
    table = pandas.DataFrame({"image": [in_base64(one) for one in images]})
    expected = translated(models[name], images).transpose(0, 2, 3, 1).astype(int)
    assert np.abs(served.predict(table) - expected).max() <= 1
    files = served.predict(table, params={"format": "png"})
    for file, image in zip(files, expected, strict=True):
        assert np.abs(np.asarray(Image.open(io.BytesIO(base64.b64decode(file)))) - image).max() <= 1
    follower = Follower(f"models:/translator-{name}@champion", "cpu", 1.0, tmp_path / "served", Metrics())
    follower._look()
    assert follower.current is not None, follower.trouble
    app = application(follower, Limits(2**16, 16, 1e9, 32), Metrics())
    status, page = ask(app, "GET", "/")
    assert status == 200 and b"POST /generate  {&#34;rows&#34;: [{&#34;image&#34;: &#34;a PNG in base64&#34;}]}" in page
    assert b"?seed" not in page
    rows = json.dumps({"rows": table.to_dict("records")}).encode()
    status, content = ask(app, "POST", "/generate", body=rows, accept=b"application/json")
    assert status == 200, content
    answered = [base64.b64decode(one["png"]) for one in json.loads(content)["images"]]
    for file, image in zip(answered, expected, strict=True):
        assert np.abs(np.asarray(Image.open(io.BytesIO(file))) - image).max() <= 1
    with pytest.raises(MlflowException, match=r"row 0: image is .*; give a PNG, JPEG or WebP file of 32 by 32 pixels"):
        served.predict(pandas.DataFrame({"image": ["no picture"]}))
    with pytest.raises(MlflowException, match="of 32 by 32 pixels in base64, not of 8 by 8"):
        served.predict(pandas.DataFrame({"image": [in_base64(images[0][:, :8, :8])]}))
