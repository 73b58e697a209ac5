from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML

from atelier.config import settings
from atelier.config.model import STAGES, ModelSettings, family
from atelier.config.section import SettingsError, parse
from atelier.networks.layers import resolutions
from benchmarks import recipes, zoo
from tests.support.small import PARAMS


def test_params_yaml_is_valid_and_hashes_by_value() -> None:
    first, second = settings.load(PARAMS), settings.load(PARAMS)
    other = settings.load(PARAMS, ["train.seed=41"])
    hashes = [settings.fingerprint(one.model_dump(mode="json")) for one in (first, second, other)]
    assert first == second and hashes[0] == hashes[1]
    assert other.train.seed == 41 and hashes[2] != hashes[0]


def test_numbers_of_yaml_1_2_are_numbers() -> None:
    assert settings.load(PARAMS, ["train.lr_generator=2e-4"]).train.lr_generator == 2e-4


@pytest.mark.parametrize(
    ("override", "key", "remedy"),
    [
        ("train.sede=1", "train.sede", "unknown key; did you mean seed? allowed here: "),
        ("train.batch=ten", "train.batch", "valid integer"),
        ("train.batch=64.5", "train.batch", "valid integer"),
        ("train.batch=0", "train.batch", "greater than 0"),
        ("train.seed=true", "train.seed", "valid integer"),
        ("train.lr_generator=-0.1", "train.lr_generator", "greater than 0"),
        ("train.accumulate=5", "train", "cannot be cut into accumulate = 5"),
        ("train.images=1", "train", "less than one batch"),
        ("model.architecture=vae", "model.architecture", "'srresnet' or 'stylegan2'"),
        ("model.r3gan.group_size=7", "model.r3gan", "not a multiple of group_size 7"),
        ("data.base.resolution=30", "data.base.resolution", "28, 32, 48, 64, 96, 128, 192, 256, 384, 512 or 1024"),
        ("data.base.margin=14", "data.base", "leaves nothing of resolution 28"),
        ("data.base.source=kaggle", "data.base.source", "choose mnist-5k, "),
        ("data.base.source=torchvision:a/b", "data.base.source", "torchvision:NAME"),
        ("data.base.path=''", "data.base.path", "at least 1 character"),
        ("data.base.channels=true", "data.base.channels", "whole number"),
        ("data.base.resolution=28.0", "data.base.resolution", "whole number"),
        ("data.base.background=", "data.base.background", "quote it"),
        ("train.regularizers.r1=.inf", "train.regularizers.r1", "finite"),
        ("train.regularizers.r2=.nan", "train.regularizers.r2", "finite"),
        ("train.r1=2.0", "train.r1", "unknown key; did you mean regularizers.r1?"),
        (
            "train.regularizers.lecan=0.3",
            "train.regularizers.lecan",
            "unknown key; did you mean lecam?",
        ),
        ("train.regularizers.r1=true", "train.regularizers.r1.weight", "valid number"),
        ("train.regularizers.zcr_generator.sigma=0.1", "train.regularizers.zcr_generator.weight", "missing"),
        ('train.regularizers.perceptual={"weight":1.0,"network":"vgg16"}', "train.regularizers.perceptual", "set packaged"),
        ("train.augment=ada train.objective=minimax", "train", "ada reads the sign"),
        ("train.objective=wasserstein train.regularizers={}", "train.objective", "train.regularizers.gradient_penalty: 10.0"),
        ("train.regularizers.gradient_penalty=10.0", "train", "r1 and r2 to 0; take one or the other out of regularizers"),
        ("finetune.regularizers.dragan=1.0", "finetune", "r1 and r2 to 0; take one or the other out of regularizers"),
        ("train.clip=0.01", "train", "set clip: 0.0"),
        ("train.clip=0.01 train.objective=wasserstein", "train", "both hold its slope"),
        (
            "model.architecture=resnet train.objective=wasserstein train.clip=0.01 train.regularizers={}",
            "train.clip",
            "set train.clip: 0.0",
        ),
        ("train.regularizers.lecam=0.3", "train", "objective: nonsaturating or hinge"),
        ("train.regularizers.path_length=2.0", "train.regularizers.path_length", "needs styles, which dcgan"),
        ("train.regularizers.classification=1.0", "train.regularizers.classification", "conditioning: auxiliary"),
        ("model.architecture=progan model.progan.group=1", "model.progan.group", "greater than or equal to 2"),
        ("model.architecture=stylegan2 train.accumulate=32", "train", "model.stylegan2.group = 4"),
        ("model.architecture=sagan model.sagan.attention=2", "model.sagan.attention", "choose 1 to 1"),
        ("model.architecture=biggan model.biggan.scales=3", "model.biggan.scales", "choose 1 to 2"),
        ("model.conditioning=auxiliary", "train.regularizers.classification", "set train.regularizers.classification: 1.0"),
        ("model.architecture=r3gan model.conditioning=auxiliary", "model", "set conditioning: projection"),
        ("model.mlp.hidden=[]", "model.mlp.hidden", "at least 1"),
        ("model.mlp.sizes=[8]", "model.mlp.sizes", "allowed here: hidden"),
        ("model.architecture=gat model.gat.patch=5", "model.gat.patch", "does not divide 28 px; choose among 1, 2, 4, 7, 14"),
        ("model.architecture=gat model.gat.heads=5", "model.gat", "no multiple of 4 x heads = 20"),
        ("model.architecture=gat model.gat.depth=6", "model.gat.depth", "multiple of 4"),
        ("model.architecture=gat model.gat.autoencoder=a.safetensors", "model.gat", "sha256sum FILE"),
        ("model.architecture=r3gan model.r3gan.channels=[64,64]", "model.r3gan.channels", "28 px need 3"),
        ("finetune.init_from=models:/digits", "finetune.init_from", "models:/NAME@ALIAS"),
        ("evaluate.metrics=[kernel,kernel]", "evaluate.metrics", "once"),
        ("evaluate.extractor=inception", "evaluate", "set published"),
        ("evaluate.weights=published", "evaluate", "set packaged"),
        ("model.conditional=false data.base.labels=false", "evaluate.metrics", "classifier needs labels"),
        ("data.target.channels=3", "data.target.channels", "set both alike"),
        ("products.base.name=digits.v2", "products.base.name", "match pattern"),
        ("products.finetuned.name=digits", "products.finetuned and products.base are both digits", "a name of its own"),
        ("products.base.trained_by=tune", "products.base.trained_by", "'train' or 'finetune'"),
        ("products.base.data=digits", "products.base.data is digits", "section data has base, target; name one of these"),
        ("products={}", "products", "at least 1"),
        ("products.Base.name=x products.Base.trained_by=train", "products.Base", "is no name; write small letters, digits and _"),
        ("finetune=null", "products.finetuned.trained_by is finetune", "add it, or take finetuned out"),
        ("train.data=digits", "train.data is digits, but section data has base, target", "name one of these"),
        ("finetune.data={}", "finetune.data", "at least 1"),
        ("finetune.data=digits", "finetune.data is digits, but section data has base, target", "name one of these"),
        (
            'finetune.data={"a":base,"b":target}',
            "finetune.data names a, b, but train.data one set",
            "name the same kinds of sets",
        ),
        ("data={}", "data", "at least 1"),
        ("data.base-2=1", "data.base-2", "is no name; write small letters, digits and _"),
        ("data.third.sauce=x", "data.third.sauce", "unknown key; did you mean source? allowed here: "),
        ("data.base=3", "data.base", "should hold background, "),
        ("data.base.background=black", "data.base.background", "#"),
        ("data.target.resolution=64", "data.target.resolution", "set both alike"),
        ("data.target.labels=false", "model.conditional", "needs labels; set data.target.labels: true"),
        (
            "data.target.labels=false model.conditional=false",
            "evaluate.metrics: classifier",
            "needs labels; set data.target.labels: true",
        ),
        ("model.dcgan.batch_norm=true", "r1 and r2 of train", "set batch_norm: false, or take them out of train.regularizers"),
        ("evaluate.metrics=[]", "evaluate.metrics", "at least 1"),
        ("products.base.name=a/b", "products.base.name", "match pattern"),
    ],
)
def test_what_cannot_be_is_refused_with_key_and_remedy(override: str, key: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load(PARAMS, override.split(" "))
    message = str(refused.value)
    assert key in message and remedy in message and str(PARAMS) in message


def test_missing_key_missing_file_and_broken_yaml(tmp_path: Path) -> None:
    copy = tmp_path / "params.yaml"
    copy.write_text(PARAMS.read_text().replace("    holdout: 0.1", "    #", 1))
    with pytest.raises(SettingsError, match=r"data\.base\.holdout: missing"):
        settings.load(copy)
    copy.write_text("data: [1,\n")
    with pytest.raises(SettingsError, match="not valid YAML"):
        settings.load(copy)
    with pytest.raises(SettingsError, match="cannot be read"):
        settings.load(tmp_path / "absent.yaml")
    copy.write_bytes("# Größe".encode("latin-1"))
    with pytest.raises(SettingsError, match="save it as UTF-8"):
        settings.load(copy)


def test_a_section_that_has_a_file_of_its_own_now_is_told(tmp_path: Path) -> None:
    copy = tmp_path / "params.yaml"
    copy.write_text(PARAMS.read_text() + "\ncluster:\n  states: none\n")
    with pytest.raises(SettingsError, match=r"move what is below it to cluster\.yaml, beside this file"):
        settings.load(copy)


def test_sets_without_names_are_told_what_they_are_called_now(tmp_path: Path) -> None:
    """params.yaml of before: a section for each of two sets, and products under `registry`."""
    copy = tmp_path / "params.yaml"
    values = YAML(typ="safe").load(PARAMS.read_text(encoding="utf-8"))
    before = {**values, "data": values["data"]["base"], "target": values["data"]["target"]}
    before["registry"] = {"experiment": "atelier", "base": "digits", "finetuned": "digits-finetuned"}
    del before["products"]
    with copy.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(before, file)
    with pytest.raises(SettingsError) as refused:
        settings.load(copy)
    assert str(refused.value).startswith(f"{copy}: sets of images have names now; move what is below data to data.base")
    for remedy in ("below target to data.target", "train.data: base", "finetune.data: target", "section products"):
        assert remedy in str(refused.value)


def test_a_set_is_measured_where_it_is_trained_on_unless_its_product_says_another() -> None:
    whole = settings.load(PARAMS)
    assert [whole.measured_on(product) for product in whole.products] == ["base", "target"]
    assert settings.load(PARAMS, ["products.base.data=target"]).measured_on("base") == "target"
    assert {name: one.sets for name, one in whole.trainings.items()} == {
        "train": {"data": "base"},
        "finetune": {"data": "target"},
    }


def test_a_project_without_finetuning() -> None:
    alone = settings.load(PARAMS, ["finetune=null", "products={base: {name: digits, trained_by: train}}"])
    assert alone.finetune is None and list(alone.trainings) == ["train"]
    assert list(alone.named()) == ["data.base", "data.target", "model", "train", "evaluate", "registry", "products.base", "gate"]
    assert settings.nested(alone.named()) == {name: value for name, value in alone if value is not None}


def test_an_error_at_the_top_names_the_file_alone(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        settings.load(PARAMS, ["data.target.resolution=64"])
    assert str(refused.value).startswith(f"{PARAMS}: data.target.resolution is 64 but data.base.resolution is 28; ")
    copy = tmp_path / "params.yaml"
    copy.write_text("just text\n")
    with pytest.raises(SettingsError) as refused:
        settings.load(copy)
    expected = "data, detect, evaluate, finetune, gate, model, products, registry, train"
    assert str(refused.value) == f"{copy}: should hold {expected}, each with its value, but it is 'just text'"
    with pytest.raises(SettingsError, match=r"params\.yaml: model\.mlp: should hold hidden, each with its value, but it is 3$"):
        settings.load(PARAMS, ["model.mlp=3"])


DETECTOR = (
    "detect={name: d, kept: residuals, seed: 0, images: 64, tested: 16, shown: 64, false_positives: 0.1, generators: {a: %s}}"
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("[model.architecture=rgan]", r"detect\.generators\.a: model\.architecture: .*r3gan"),
        ("[train.batch=0]", r"detect\.generators\.a: train\.batch: .*greater than 0"),
        ("[evaluate.seed=1]", r"detect\.generators\.a: evaluate\.seed=1 is neither of model nor of train"),
        ("[train.data=target]", r"detect\.generators\.a: .*changes model\.task or train\.data"),
    ],
)
def test_a_generator_of_a_detector_that_could_not_be_trained_is_refused(changes: str, said: str) -> None:
    assert settings.load(PARAMS, [DETECTOR % "[model.architecture=biggan, train.batch=32]"]).detect
    with pytest.raises(SettingsError, match=said):
        settings.load(PARAMS, [DETECTOR % changes])


def test_a_color_in_an_override_is_no_comment() -> None:
    assert settings.load(PARAMS, ["data.base.background=#ffffff"]).data["base"].background == "#ffffff"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed", "--set seed: write section.key=value"),
        ("nothing.seed=1", "nothing: unknown key; allowed here: data"),
        ("train.seed.deep=1", "--set train.seed.deep=1: params.yaml has no section 'train.seed'"),
    ],
)
def test_overrides_that_name_nothing(override: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        settings.load(PARAMS, [override])


def test_yaml_tags_run_no_code(tmp_path: Path) -> None:
    copy = tmp_path / "params.yaml"
    copy.write_text('data: !!python/object/apply:os.system ["touch ' + str(tmp_path / "owned") + '"]\n')
    with pytest.raises(SettingsError):
        settings.load(copy)
    assert not (tmp_path / "owned").exists()


def test_model_identity_leaves_other_families_out_and_comes_back() -> None:
    model = settings.load(PARAMS, ["model.architecture=dcgan"]).model
    other = settings.load(PARAMS, ["model.architecture=dcgan", "model.mlp.hidden=[7]"]).model
    assert model.identity() == other.identity()
    back = ModelSettings.from_identity(model.identity(), origin="generator.json")
    assert back.identity() == model.identity()
    before = {key: value for key, value in model.identity().items() if key != "conditioning"}  # when there was no choice
    assert ModelSettings.from_identity(before, origin="generator.json").identity() == model.identity()
    with pytest.raises(SettingsError, match=r"generator.json: architecture 'vae' is not known"):
        ModelSettings.from_identity({"architecture": "vae"}, origin="generator.json")
    damaged = {**model.identity(), "dcgan": {"width": 32}}
    with pytest.raises(SettingsError, match=r"generator.json: model.dcgan: batch_norm missing; the file is damaged"):
        ModelSettings.from_identity(damaged, origin="generator.json")


def test_no_mapping_of_params_yaml_is_shared_by_two_sections() -> None:
    """DVC writes what `-S train.regularizers.r1=2` sets into the mapping, and over it what the other section had."""
    sections = YAML(typ="safe").load(PARAMS.read_text(encoding="utf-8"))
    mappings = [id(value) for section in sections.values() for value in section.values() if isinstance(value, dict)]
    mappings += [id(value) for one in sections["data"].values() for value in one.values() if isinstance(value, dict)]
    assert len(mappings) == len(set(mappings))


def test_another_architecture_needs_no_section() -> None:
    """`dvc exp run -S model.architecture=r3gan` and `--set` leave the section of the one before behind."""
    model = settings.load(PARAMS, ["model.architecture=r3gan"]).model
    assert model.family == family("r3gan")() and model.identity()["r3gan"]["group_size"] == 16
    changed = settings.load(PARAMS, ["model.architecture=r3gan", "model.r3gan.blocks=2"]).model
    assert changed.family == family("r3gan").model_validate({"blocks": 2}), "what is not written has its default"
    for one in (model, changed):
        assert parse(one.model_dump(mode="json"), ModelSettings, "a run") == one


def test_sections_of_architectures_are_what_params_yaml_says_of_the_digits() -> None:
    assert settings.load(PARAMS).model.family == family("dcgan")()


def test_stages_are_those_that_networks_build() -> None:
    assert {side: len(resolutions(side)) for side in STAGES} == STAGES


def test_params_yaml_has_the_recipe_that_is_first_in_the_benchmark_of_recipes() -> None:
    digits: Any = SimpleNamespace(resolution=28, channels=1)
    name, told = next(iter(recipes.recipes().items()))
    first = zoo.recipe(told["family"], digits, {}, recipes.overrides(told))
    ours = settings.load(PARAMS)
    free = {"images", "evaluate_from", "min_diversity"}  # a run's length and its watch are no part of a recipe
    assert first.model == ours.model, name
    assert first.train.model_dump(exclude=free) == ours.train.model_dump(exclude=free), name
