"""Makes images with any model: of a checkpoint folder or of the registry, whatever it takes.

A model says what it takes: noise and a class (drawn from seeds, one for each image), pictures, text, sound. --NAME VALUE is short
for --input NAME=VALUE. Options that it does not take are refused with what it does take, and `--describe` shows that. What is
interrupted goes on where it stopped when the same command runs again.

example:
  python -m components.generate --model models/base --output pictures --count 64
  python -m components.generate --model models:/digits@champion --output sevens --class 7 --truncation 0.7 --seed 100
  python -m components.generate --model models:/monet@champion --output generated --input image=photos
  python -m components.generate --model models:/large@champion --output enlarged --image photos --tile 256
  python -m components.generate --model models:/emoji@champion --output cats --text "smiling cat" --audio cat.wav --guidance 2
  python -m components.generate --model models:/digits@champion --output styled --then models:/style@champion --style waves.jpg
  python -m components.generate --model models:/textures@champion --output larger --image walls --edges wrap
  python -m components.generate --model models/both --output enlarged --image photos --sharpness 0.6
  python -m components.generate --model models:/digits@champion --describe

what the paths hold:
  --model    a checkpoint (components.train), or models:/NAME@ALIAS, or models:/NAME/VERSION
  --output   000000.png, 000001.png, ... each labelled with what it was made from, and signed where ATELIER_CREDENTIALS names a
             key; manifest.json: the model, the sha256 of its weights, and of each file its name, its sha256 (a signature makes
             another one each time) and what it was made from; a model that restores keeps 16 bits, transparency and profile
  --cache    registered models that were fetched; may be deleted at any time
"""

from __future__ import annotations

import base64
import itertools
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from atelier.io.files import atomic_folder, atomic_write, canonical_json, check_folders, check_output, read_json, sha256_file
from components import cli
from components.contract import CACHE, DEVICE, Images, In, Model, Option, Out, Page, component
from components.postprocess import contents, given_of, then
from components.request import COUNT, RequestError, records, takes
from components.sheet import sheet

if TYPE_CHECKING:
    from atelier.models.model import GeneratorInfo
    from atelier.networks.inputs import Given, LabelMap, Picture

MANIFEST, REQUEST = "manifest.json", "request.json"
AT_ONCE = 64
SMALLEST_TILE = 16
OF_ANY_SIZE = "pictures of any size, each made whole, or in tiles by --tile; --edges wrap for those that tile"


@component(
    reads={},
    computes=True,
    reusable=True,
    retries=10,
    pages={"sheet": Page("HTML", sheet)},
    describe=lambda images: {"images": len(images)},
)
def generate(
    model: Annotated[In[Model], Option("a checkpoint folder, or models:/NAME@ALIAS of the registry", metavar="MODEL")],
    output: Annotated[Out[Images], "where the images go"],
    cache: Annotated[Path, CACHE],
    count: Annotated[int | None, Option(f"images, of each picture that is given (default: {COUNT}; 1 with pictures)")] = None,
    seed: Annotated[int | None, Option("seed of the first image, which each further one counts up (default: 0)")] = None,
    classes: Annotated[list[str] | None, Option("classes in turn (default: drawn from the seeds)", "NAME", "--class")] = None,
    truncation: Annotated[float | None, Option("above 0, at most 1: less variety, safer images (default: 1)", "PSI")] = None,
    sharpness: Annotated[
        float | None, Option("0 (smooth) to 1 (sharp), of a model that holds two generators (default: 1)", "SHARE")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        Option("what it takes by name: files or folders of pictures, a text, a WAV file, a number", "NAME=VALUE", "--input"),
    ] = None,
    size: Annotated[
        Literal["trained", "own"],
        Option("of pictures: trained (default: cropped and resized), or own, larger ones in tiles, where the network can"),
    ] = "trained",
    image: Annotated[
        str | None,
        Option("a picture or a folder of them in their own size, of a model that takes one: --input and --size own", "PATH"),
    ] = None,
    tile: Annotated[
        int | None, Option("pixels a side of a tile of those (default: 256; 512 where tiles fade into each other)")
    ] = None,
    second: Annotated[
        str | None,
        Option(
            "a second model, which is given each image as its picture; --style FILE and the like are its inputs",
            "MODEL",
            "--then",
        ),
    ] = None,
    edges: Annotated[
        Literal["end", "wrap"],
        Option("of those: end (default), or wrap, of textures that tile: beyond one lies the opposite one, and the result tiles"),
    ] = "end",
    device: Annotated[str, DEVICE] = "auto",
    second_inputs: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Writes the images as PNG files into the folder `output`, with a manifest, and returns its list of images.

    `second_inputs`, NAME=VALUE, are what the second model takes, which the command line has as --NAME VALUE.
    Each image depends on its own row of the manifest alone (up to rounding). Raises RequestError for what the model does not
    take, PostprocessError for what a second model does not take, PictureError, GeneratorError, TrackingError, WriteError.
    """
    from atelier.registry.fetch import located
    from atelier.training.distributed import choose_device  # which loads PyTorch

    check_output(output, MANIFEST)
    check_folders(cache)
    folder = located(model, cache, networks=False)
    served = _served(folder, str(choose_device(device)))
    if image is not None:
        size, inputs = "own", [*(inputs or []), f"{_picture_of_any_size(served)}={image}"]
    asked = records(served.info, count, seed, classes, truncation, sharpness, inputs or [])
    make: Make = _make
    if size == "own":
        make = _maker_of_own_size(served, tile, edges == "wrap", sharpness)
    elif tile is not None or edges == "wrap":
        option = "--edges" if tile is None else "--tile"
        raise RequestError(f"{option}: pictures of the trained size go through whole; add --size own")
    else:
        _read(served, asked[: max(len(classes or []), 1)])  # refused before anything is made
    about = {"model": str(model), "weights": served.generator.sha256, "size": size, "tile": tile, "edges": edges}
    after = {}
    if second is not None:
        other = _served(located(second, cache, networks=False), str(choose_device(device)))
        given = given_of(other.info, second_inputs or [])
        make = then(make, other, given, _read)
        after = {"then": {"model": second, "weights": other.generator.sha256, **_without_files(given)}}
        about |= after
    request = about | {"records": [_without_files(one) for one in asked]}
    part = output.parent / f".{output.name}.part"
    images = list(_made(served, asked, _begun(part, request), make, 1 if size == "own" else AT_ONCE))
    manifest = {"model": str(model), "weights": served.generator.sha256, "task": served.info.task, "product": served.info.product}
    manifest |= after
    with atomic_folder(output, MANIFEST) as aside:
        for one in images:
            shutil.move(part / one["file"], aside / one["file"])
        atomic_write(aside / MANIFEST, canonical_json(manifest | {"images": images}))
    shutil.rmtree(part)
    return images


def _served(folder: Path, device: str) -> Any:
    from atelier.models.pyfunc import ServedGenerator

    return ServedGenerator(folder, device)


def _without_files(record: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the hashes of its pictures for their files."""
    return {name: sha256_file(value) if isinstance(value, Path) else value for name, value in record.items()}


def _begun(part: Path, request: Mapping[str, Any]) -> Path:
    """The folder of what was made of this request before, empty where that was of another one."""
    text = canonical_json(request)
    if not (part / REQUEST).is_file() or (part / REQUEST).read_text(encoding="utf-8") != text:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        atomic_write(part / REQUEST, text)
    return part


Make = Callable[[Any, Sequence[Mapping[str, Any]], Sequence[Path]], list[dict[str, Any]]]
"""Writes a PNG file for each row, and returns what each was made from."""


def _make(served: Any, records: Sequence[Mapping[str, Any]], files: Sequence[Path]) -> list[dict[str, Any]]:
    """Images of the size that the model was trained on."""
    from atelier.models.pyfunc import picture
    from atelier.provenance.leaving import labelled

    rows, weights = _read(served, records), {"weights": served.generator.sha256}
    for record, row, image, file in zip(records, rows, served.generate(rows), files, strict=True):
        atomic_write(file, labelled(picture(image), weights | row.about, contents(record)))
    return [row.about for row in rows]


def _maker_of_own_size(served: Any, tile: int | None, wrap: bool, sharpness: float | None) -> Make:
    """Writes what becomes of pictures in their own size. Raises RequestError, PictureError."""
    from atelier.models.given import naming, recipe_of
    from atelier.models.own_size import translate
    from atelier.models.tiles import Tiles
    from atelier.networks.blended import SHARPNESS, at_share
    from atelier.networks.inputs import Refusal

    name = _picture_of_any_size(served)
    if tile is not None and tile < SMALLEST_TILE:
        raise RequestError(f"--tile is {tile}; give {SMALLEST_TILE} or more")
    try:
        generator = at_share(served.generator, sharpness)
    except Refusal as refusal:
        raise RequestError(f"--sharpness is {sharpness:g}; give {refusal}") from refusal
    kind, tiles = served.info.takes[name], Tiles(generator, tile, wrap)  # type: ignore[arg-type] # which takes any size
    if wrap and tiles.around is None:
        raise RequestError("--edges wrap: this model looks at whole pictures, so that seams would stay open; leave it out")
    about = {"weights": served.generator.sha256} | ({} if sharpness is None else {SHARPNESS: sharpness})

    def make(served: Any, records: Sequence[Mapping[str, Any]], files: Sequence[Path]) -> list[dict[str, Any]]:
        for record, file in zip(records, files, strict=True):
            with naming(record[name], kind):
                translate(tiles, record[name].read_bytes(), recipe_of(kind), about, name, file)
        return [{} for _ in records]

    return make


def _picture_of_any_size(served: Any) -> str:
    """The name of the one picture that a model takes. Raises RequestError where it takes something else, or one size only."""
    name = _of_any_size(served.generator)
    if name is None:
        raise RequestError(
            f"--image and --size own: this model takes no single picture of any size; leave them out, for it takes\n"
            f"{takes(served.info)}"
        )
    return name


def _of_any_size(generator: Any) -> str | None:
    """The name of the one picture that a generator takes, None where it takes something else, or one size only."""
    from atelier.networks.base import Translator
    from atelier.networks.blended import at_share
    from atelier.networks.inputs import Picture

    one = at_share(generator, None)
    (name, kind), *others = one.takes.items()
    return str(name) if isinstance(one, Translator) and one.any_size and not others and isinstance(kind, Picture) else None


def _made(served: Any, records: Sequence[Mapping[str, Any]], part: Path, make: Make, at_once: int) -> Iterator[dict[str, Any]]:
    """Generates what is not there yet; yields what the manifest says of each image."""
    from atelier.io.progress import bar

    with bar("generate", len(records), True) as shown:
        for first in range(0, len(records), at_once):
            numbers = range(first, min(first + at_once, len(records)))
            said = part / f"{first:06}.json"
            if not said.is_file():
                names = [f"{number:06}.png" for number in numbers]
                made = make(served, records[first : numbers.stop], [part / name for name in names])
                entries = [
                    {"file": name, **_without_files(records[number]), **of}
                    for number, name, of in zip(numbers, names, made, strict=True)
                ]
                atomic_write(said, canonical_json(entries))
            for one in read_json(said):
                yield one | {"sha256": sha256_file(part / one["file"])}
            shown.update(len(numbers))


def _read(served: Any, records: Sequence[Mapping[str, Any]]) -> Any:
    """The rows as the model understands them. Raises RequestError."""
    from mlflow.exceptions import MlflowException

    try:
        return served.read([_encoded(served.info, one) for one in records])
    except MlflowException as error:
        raise RequestError(f"{error.message}; this model takes\n{takes(served.info)}") from error


def _encoded(info: GeneratorInfo, record: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its pictures and recordings as the model takes them."""
    return {name: _of_file(value, info.takes[name]) if isinstance(value, Path) else value for name, value in record.items()}


def _of_file(file: Path, kind: Given) -> str:
    """A file in base64, as a served model is given it. Raises PictureError, RequestError."""
    from atelier.networks.inputs import LabelMap, Picture

    if isinstance(kind, Picture | LabelMap):
        return _png(file, kind)
    try:
        return base64.b64encode(file.read_bytes()).decode()
    except OSError as error:
        raise RequestError(f"{file}: cannot be read ({error.strerror}); give another") from error


def _png(file: Path, kind: Picture | LabelMap) -> str:
    """A picture or a label map as a PNG in base64. Raises PictureError."""
    from atelier.io.label_maps import painted
    from atelier.io.pictures import png
    from atelier.models.given import square
    from atelier.models.pyfunc import picture

    pixels = square(file, kind)
    return base64.b64encode(png(painted(pixels[..., 0], kind.marks) if kind.kind == "map" else picture(pixels))).decode()


def _named(options: Sequence[str], where: str) -> list[str]:
    """--NAME VALUE as NAME=VALUE: the options of a model follow from what it takes. Raises RequestError."""
    pairs = list(zip(options[::2], options[1::2], strict=False))
    if len(options) % 2 or not all(name.startswith("--") for name, _ in pairs):
        raise RequestError(f"{' '.join(options)}: {where} what the model takes as --NAME VALUE (--describe shows that)")
    return [f"{name.removeprefix('--')}={value}" for name, value in pairs]


def main() -> None:
    """The command line."""
    parser = cli.parser(generate, __doc__, required=False)
    parser.add_argument("--describe", action="store_true", help="only say what the model takes")
    args, others = parser.parse_known_args()
    _, first = parser.parse_known_args(itertools.takewhile(lambda option: option != "--then", sys.argv[1:]))
    args.inputs = [*(args.inputs or []), *_named(first, "give")] or None
    args.second_inputs = _named(others[len(first) :], "after --then give")
    if args.model is None or (args.output is None and not args.describe):
        parser.error("give --model and --output (or --describe)")
    if args.describe:
        from atelier.models.model import load_generator
        from atelier.registry.fetch import located

        generator = load_generator(located(args.model, args.cache, networks=False))
        own = "" if _of_any_size(generator) is None else f"--image PATH: {OF_ANY_SIZE}\n"
        print(f"{own}{takes(generator.info)}")
        return
    made = cli.call(generate, args)
    print(f"{args.output}: {len(made)} images")


if __name__ == "__main__":
    cli.run(main)
