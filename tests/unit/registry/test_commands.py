"""The verbs of `python -m atelier.registry`, on generators that are really registered."""

from __future__ import annotations

import copy
import hashlib
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ruamel.yaml import YAML

from atelier import command_line
from atelier.config.settings import load
from atelier.io.files import sha256_file
from atelier.models.watermarked import Price
from atelier.networks.base import Generator
from atelier.provenance.watermark.key import WATERMARK
from atelier.registry import __main__ as command
from atelier.registry.ancestry import Origin
from atelier.registry.commands import family, rebuilding, taking
from atelier.registry.promotion import judged
from atelier.registry.register import Registration, register
from atelier.registry.signing import SignatureError
from atelier.registry.versions import address, resolve
from atelier.tracking.client import client
from atelier.tracking.place import TrackingError
from atelier.tracking.step_run import step_run
from tests.support.gate_cases import GATE, numbers
from tests.support.registry_play import not_needed
from tests.support.signing_keys import Keys
from tests.support.small import PARAMS
from tests.support.watermarks import use_secret

Run = Callable[..., str]


@pytest.fixture
def run(tracking: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("list", "digits")`: what the command line prints; with `code` for what it refuses, its errors."""

    def main(*words: str, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["registry", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            command_line.run(command.main)
        told = capsys.readouterr()
        assert left.value.code == code, told.err
        return told.err if code else told.out

    return main


@pytest.fixture
def add(tracking: Path, make_checkpoint: Callable[..., Path]) -> Callable[..., Registration]:
    """`add(name, seed, distance, ...)`: a registered generator with the gate's outcome; `written` is another params.yaml."""
    own = load(PARAMS).model_dump(mode="json")

    def made(
        name: str,
        seed: int,
        distance: float,
        parent: Registration | None = None,
        written: dict[str, Any] | None = None,
        **others: Any,
    ) -> Registration:
        parameters = written or own
        ancestry = None
        if parent:
            ancestry = {"sha256": parent.sha256, "data": {"content_hash": "b" * 64}, "settings": {}, "model": {}}
        checkpoint = make_checkpoint(f"{name}-{seed}", seed=seed, parent=ancestry)
        raw = {"raw_path": "data/raw/flowers", "raw_md5": "0123456789abcdef.dir"}
        origin = Origin({**parameters, "train": {**parameters["train"], "seed": seed}}, {"d" * 64: raw})
        with step_run("register", "command tests", {}, required=True) as opened:
            first = register(opened, name, checkpoint, numbers(distance, **others), "A card.", origin)
            return judged(opened, first, GATE, not_needed)

    return made


def test_what_is_registered_is_listed(run: Run, add: Callable[..., Registration]) -> None:
    add("listed", 1, 20.0)
    add("listed", 2, 30.0)
    line = next(line for line in run("list").splitlines() if "listed" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["listed", "1", "20 (19.02 … 20.98)", "2", "", "up to 2"]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in run("list", "listed").splitlines() if "│" in line]
    assert [row[:4] for row in rows] == [
        ["1", "champion", "promoted", "20 (19.02 … 20.98)"], ["2", "challenger", "refused", "30 (29.02 … 30.98)"],
    ]  # fmt: skip
    assert "unheard-of: no generator of that name is registered" in run("list", "unheard-of", code=1)


def test_all_about_a_version(run: Run, add: Callable[..., Registration]) -> None:
    made = add("told", 3, 20.0)
    told = run("show", "told@champion")
    assert "models:/told/1" in told and made.sha256 in told and "promoted" in told and "there was no champion" in told
    assert "raw_md5 0123456789abcdef.dir" in told and "abc123" in told and made.run_id in told
    assert "20 (19.02 … 20.98)" in told and "efficientnet_lite0, 1280 features" in told
    assert run("show", "models:/told/1") == told


def test_promotion_rollback_and_their_history(run: Run, add: Callable[..., Registration]) -> None:
    add("moved", 4, 20.0)
    add("moved", 5, 30.0)
    assert "moved: champion is version 2, previous is version 1" in run("promote", "moved/2", "--reason", "nicer sevens")
    assert "version 2 of moved is the champion already" in run("promote", "moved/2", "--reason", "again", code=1)
    assert "moved: champion is version 1" in run("rollback", "moved", "--reason", "no fives")
    entries = json.loads(run("history", "moved", "--json"))
    assert [(entry["action"], entry["version"]) for entry in entries] == [
        ("promote", 1), ("refuse", 2), ("promote", 2), ("rollback", 2),
    ]  # fmt: skip
    assert entries[2]["reason"] == "nicer sevens" and entries[3]["aliases"]["champion"] == 1
    told = run("history", "moved")
    assert "no fives" in told and "outside of Atelier" not in told
    client().set_registered_model_alias("moved", "champion", "2")
    assert "The champion is version 2: somebody has moved that alias outside of Atelier" in run("history", "moved")
    assert "say why" in run("promote", "moved/1", "--reason", " ", code=2)
    assert "unheard-of: nothing was decided" in run("history", "unheard-of", code=1)
    assert "unheard-of: no generator of that name was ever promoted" in run("rollback", "unheard-of", "--reason", "x", code=1)


def test_comparing_two_versions(run: Run, add: Callable[..., Registration], tmp_path: Path) -> None:
    add("beside", 6, 20.0)
    add("beside", 7, 15.0)
    told = run("compare", "beside/1", "beside/2", "--output", str(tmp_path / "page"))
    assert "B is better" in told and "-5" in told
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.splitlines() if "│" in line]
    assert ["train.seed", "6", "7"] in rows and not [row for row in rows if row[0] == "train.batch"]
    page = (tmp_path / "page" / "comparison.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2 and "train.seed" in page and "seed 0" in page
    first, second = ((tmp_path / "page" / f"{side}.png").read_bytes() for side in "ab")
    assert first != second and first.startswith(b"\x89PNG")
    again = run("compare", "beside/1", "beside/1", "--output", str(tmp_path / "same"))
    assert "no parameter differs" in again and "better" not in again
    assert (tmp_path / "same" / "a.png").read_bytes() == (tmp_path / "same" / "b.png").read_bytes() == first


def test_numbers_of_other_identity_are_shown_and_not_compared(run: Run, add: Callable[..., Registration], tmp_path: Path) -> None:
    add("unlike", 8, 20.0)
    add("unlike-too", 9, 15.0, reference="q")
    told = run("compare", "unlike/1", "unlike-too/1", "--output", str(tmp_path / "page"))
    assert "not compared, for they differ in reference" in " ".join(told.split()) and "is better" not in told


def test_the_family_of_a_version(run: Run, add: Callable[..., Registration]) -> None:
    base = add("mother", 10, 20.0)
    tuned = add("daughter", 11, 20.0, parent=base)
    add("granddaughter", 12, 20.0, parent=tuned)
    told = run("lineage", "daughter/1")
    up, _, down = told.partition("fine-tuned from models:/daughter/1")
    assert "models:/mother/1 (champion)" in up and base.sha256 in up and tuned.sha256 in up and "0123456789abcdef.dir" in up
    assert "models:/granddaughter/1" in down and "models:/granddaughter/1" not in up
    whole = json.loads(run("lineage", "daughter/1", "--json"))
    assert whole["parent"]["version"] == "models:/mother/1" and whole["parent"]["parent"] is None
    assert [one["version"] for one in whole["descendants"]] == ["models:/granddaughter/1"]
    below = family.descendants(resolve(base.uri))
    assert below[0]["version"] == tuned.uri and below[0]["descendants"][0]["version"] == "models:/granddaughter/1"
    client().delete_model_version("mother", "1")
    assert "models:/mother/1, deleted since" in run("lineage", "daughter/1")


def test_a_checkpoint_is_pulled_and_exported(run: Run, add: Callable[..., Registration], tmp_path: Path) -> None:
    made = add("pulled", 13, 20.0)
    assert "hashes are right" in run("pull", "pulled@champion", "--output", str(tmp_path / "checkpoint"))
    assert sha256_file(tmp_path / "checkpoint" / "generator.safetensors") == made.sha256
    assert {file.name for file in (tmp_path / "checkpoint").iterdir()} == {"generator.safetensors", "generator.json"}
    run("pull", "pulled@champion", "--networks", "--output", str(tmp_path / "whole"))
    assert (tmp_path / "whole" / "networks.safetensors").is_file(), "what fine-tuning goes on from"
    assert "from PyTorch's values" in run("export", "pulled/1", "--output", str(tmp_path / "pulled.onnx"))
    assert (tmp_path / "pulled.onnx").stat().st_size > 1000


def test_a_version_is_exported_with_a_watermark_in_its_weights(
    run: Run, add: Callable[..., Registration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = add("marked", 31, 20.0)
    output = str(tmp_path / "marked.onnx")
    monkeypatch.delenv(WATERMARK, raising=False)
    told = run("export", made.uri, "--watermark", "--output", output, code=1)
    assert "--watermark needs a secret" in told and "name its file by ATELIER_WATERMARK" in told
    secret = use_secret(tmp_path, monkeypatch, names=["marked"])
    price = Price(4, 1.0, 0.6, 29.0)

    def doubled(generator: Generator, direction: np.ndarray, strength: str) -> tuple[Generator, Price]:
        assert strength == "full"
        assert np.array_equal(direction, secret.direction(made.uri.removeprefix("models:/")))
        changed = copy.deepcopy(generator)
        for parameter in changed.parameters():
            parameter.mul_(2)
        return changed, price

    monkeypatch.setattr(taking, "watermarked", doubled)
    assert "named are 100% of groups of 4 images, 60% after JPEG 75; 29.0 dB" in run(
        "export", made.uri, "--watermark", "--output", output
    )
    about = {one.key: json.loads(one.value) for one in onnx.load(output).metadata_props}
    assert (about["watermark"], about["weights_sha256"]) == (made.uri.removeprefix("models:/"), made.sha256)
    run("export", made.uri, "--output", str(tmp_path / "plain.onnx"))
    weights = [
        {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(file).graph.initializer}
        for file in (output, str(tmp_path / "plain.onnx"))
    ]
    assert any(
        name in weights[0] and np.allclose(weights[0][name], 2 * value) and value.any() for name, value in weights[1].items()
    )


def test_the_recipe_of_a_version(run: Run, add: Callable[..., Registration]) -> None:
    base = add("made", 14, 20.0)
    add("made-tuned", 15, 20.0, parent=base)
    script = run("reproduce", "made/1")
    lines = script.splitlines()
    assert lines[-1] == f"echo '{base.sha256}  models/made/generator.safetensors' | sha256sum --check"
    for line in ("git worktree add --detach reproduce-made-1 abc123", "make setup", "dvc pull data/raw/flowers"):
        assert line in lines
    assert any(line.endswith("components.prepare --section data.base --output data/base") for line in lines)
    assert any("components.train --section train --data data/base --output models/made " in line for line in lines)
    written = YAML(typ="safe", pure=True).load(script.split("<<'END'\n")[1].split("\nEND\n")[0])
    expected = load(PARAMS).model_dump(mode="json")
    assert written["train"]["seed"] == 14 and written["evaluate"] == expected["evaluate"] and written["data"] == expected["data"]
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert checked.returncode == 0, checked.stderr
    tuned = run("reproduce", "made-tuned/1").splitlines()
    assert "python -m atelier.registry pull made/1 --networks --output reproduce-made-tuned-1/models/parent" in tuned
    assert "python -m components.prepare --section data.target --output data/target" in tuned
    assert any("components.train --section finetune --data data/target --output models/made " in line for line in tuned)
    assert any("components.train" in line and line.endswith("--init-from models/parent") for line in tuned)


def test_the_recipe_of_a_product_names_the_set_that_it_was_trained_on(run: Run, add: Callable[..., Registration]) -> None:
    """Not the one that it is measured against, nor the one that is called base."""
    whole = load(PARAMS, ["train.data=target", "finetune.data=base", "products.finetuned.data=target"]).model_dump(mode="json")
    base = add("digits", 22, 20.0, written=whole)
    add("digits-finetuned", 23, 20.0, parent=base, written=whole)
    assert "components.train --section train --data data/target " in run("reproduce", "digits/1")
    tuned = run("reproduce", "digits-finetuned/1")
    assert "components.prepare --section data.base --output data/base\n" in tuned
    assert "components.train --section finetune --data data/base " in tuned and "data.target --output" not in tuned


def test_the_recipe_of_a_version_of_before_is_of_its_commit(run: Run, add: Callable[..., Registration]) -> None:
    """Its commit has two sections of images, a command for each training, and knows no section products."""
    now = load(PARAMS).model_dump(mode="json")
    before = {name: values for name, values in now.items() if name not in ("data", "products")}
    before |= {"data": now["data"]["base"], "target": now["data"]["target"]}
    for section in ("train", "finetune"):
        before[section] = {key: value for key, value in before[section].items() if key != "data"}
    before["registry"] = {"experiment": "atelier", "base": "old", "finetuned": "old-tuned"}
    base = add("old", 24, 20.0, written=before)
    add("old-tuned", 25, 20.0, parent=base, written=before)
    script = run("reproduce", "old/1")
    assert "\npython -m components.prepare --section data --output data/base\n" in script
    assert "components.train --data data/base --output models/made " in script and "--section train" not in script
    written = YAML(typ="safe", pure=True).load(script.split("<<'END'\n")[1].split("\nEND\n")[0])
    assert written["target"] == before["target"] and written["registry"] == before["registry"] and "products" not in written
    tuned = run("reproduce", "old-tuned/1")
    assert "\npython -m components.prepare --section target --output data/target\n" in tuned
    assert "components.finetune --data data/target --output models/made " in tuned and "components.train" not in tuned
    assert tuned.split("components.finetune")[1].splitlines()[0].endswith("--init-from models/parent")
    for text in (script, tuned):
        assert subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True).returncode == 0


def test_a_recipe_is_followed_and_checked(
    add: Callable[..., Registration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With commands that write what training would: what is checked are the hashes of images and weights."""
    made = add("followed", 16, 20.0)
    found = rebuilding.recipe(resolve(made.uri), tmp_path / "again")
    monkeypatch.chdir(tmp_path)

    def commands(manifest: str, weights: str) -> list[list[str]]:
        prepare = f"mkdir -p data/base && echo {shlex.quote(manifest)} > data/base/manifest.json"
        train = f"mkdir -p models/made && printf %s {weights} > models/made/generator.safetensors"
        named = ["sh", "-c", prepare, "--section", "data.base", "--output", "data/base"]
        return [["mkdir", "-p", "again"], ["cd", str(tmp_path / "again")], named, ["sh", "-c", train]]

    right = json.dumps({"content_hash": "d" * 64})
    found = replace(found, sha256=hashlib.sha256(b"weights").hexdigest())
    rebuilding.follow(replace(found, commands=commands(right, "weights")), tmp_path / "again")
    assert "bit for bit" in capsys.readouterr().out
    with pytest.raises(rebuilding.ReproduceError, match=r"sha256 .* but models:/followed/1 has"):
        rebuilding.follow(replace(found, commands=commands(right, "others")), tmp_path / "again")
    with pytest.raises(rebuilding.ReproduceError, match="bring the images that it was trained on"):
        rebuilding.follow(replace(found, commands=commands('{"content_hash": "x"}', "weights")), tmp_path / "again")
    with pytest.raises(rebuilding.ReproduceError, match=r"`false` failed \(exit code 1\)"):
        rebuilding.follow(replace(found, commands=[["false"]]), tmp_path / "again")


def test_what_is_not_known_cannot_be_made_again(
    tracking: Path, make_checkpoint: Callable[..., Path], measurement: Callable[..., Any]
) -> None:
    with step_run("register", "command tests", {}, required=True) as opened:
        bare = register(opened, "bare", make_checkpoint("bare", seed=17), [], "A card.")
    with pytest.raises(rebuilding.ReproduceError, match="no parameters were kept"):
        rebuilding.recipe(resolve(bare.uri), Path("again"))


def test_with_a_verify_key_only_what_is_signed_is_promoted(run: Run, add: Callable[..., Registration], keys: Keys) -> None:
    add("unsigned", 18, 20.0)
    add("unsigned", 19, 30.0)
    keys.sign_with("ours")
    keys.verify_with("ours")
    told = run("promote", "unsigned/2", "--reason", "nicer", code=1)
    assert "models:/unsigned/2: its signature is missing, and ATELIER_VERIFY_KEY asks for one" in told
    signed = add("unsigned", 20, 10.0)
    assert signed.outcome == "promoted"
    run("rollback", "unsigned", "--reason", "to the one before")
    assert "champion is version 3" in run("promote", "unsigned/3", "--reason", "signed")
    keys.verify_with("theirs")
    assert "signed by another key than that of ATELIER_VERIFY_KEY" in run("promote", "unsigned/3", "--reason", "x", code=1)
    with pytest.raises(SignatureError, match="signed by another key"):
        add("unsigned", 21, 5.0)
    assert json.loads(run("history", "unsigned", "--json"))[-1]["version"] == 3, "it was registered, and nothing was decided"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "nothing/1"], "models:/nothing/1: not in the registry; `python -m atelier.registry list` shows"),
        (["show", "nothing@champion"], "models:/nothing@champion: not in the registry"),
        (["show", "digits"], "models:/digits names no version; write digits@champion, or digits/NUMBER (list digits shows them)"),
        (["promote", "digits@latest", "--reason", "x"], "MLflow reserves the alias latest; write models:/digits@champion"),
        (["promote", "digits@v1", "--reason", "x"], "MLflow reserves the alias v1"),
        (["pull", "nothing/1", "--output", "x"], "not in the registry"),
    ],
)
def test_bad_input_is_one_line(run: Run, words: list[str], said: str) -> None:
    told = run(*words, code=1)
    assert told.startswith("error: ") and said in told and len(told.strip().splitlines()) == 1


def test_a_version_of_something_else_is_named(run: Run, tracking: Path, tmp_path: Path) -> None:
    client().create_registered_model("foreign")
    client().create_model_version("foreign", f"file://{tmp_path}/somewhere")
    for words in (["promote", "foreign/1", "--reason", "x"], ["pull", "foreign/1", "--output", str(tmp_path / "x")],
                  ["compare", "foreign/1", "foreign/1"], ["reproduce", "foreign/1"]):  # fmt: skip
        assert "was not registered by Atelier" in run(*words, code=1)
    assert "not ours" in run("list", "foreign") and "not registered by Atelier" in run("show", "foreign/1")


def test_without_a_registry_it_says_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    assert "nothing is registered here yet; `dvc repro` registers" in run("list", code=1)
    assert not (tmp_path / "none.db").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert "MLflow at http://127.0.0.1:9 cannot be used" in run("list", code=1)


def test_every_verb_explains_itself(run: Run) -> None:
    for verb in command.TEXTS:
        with pytest.raises(SystemExit) as left:
            command.parser().parse_args([verb, "--help"])
        assert left.value.code == 0


def test_addresses_may_lack_their_beginning() -> None:
    assert address("digits/3") == address("models:/digits/3") == "models:/digits/3"
    with pytest.raises(TrackingError):
        resolve(address("digits"))
