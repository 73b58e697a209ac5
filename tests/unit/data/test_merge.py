"""Packing in parts: the bytes of one process, the same complaints, and no merge of what does not belong together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atelier.config.data import DataSettings
from atelier.data.errors import DataError
from atelier.data.manifest import Manifest
from atelier.data.pack import merge, pack_part
from atelier.io.files import WriteError
from tests.support.parts_of_sets import divided, merged, parts_fixture, settings_fixture, whole
from tests.support.reading import Encode, Make

__all__ = ["parts_fixture", "settings_fixture"]

SMALL = ("folder", "zip", "idx", "parquet", "torchvision:MNIST")


# ---- equal images, equal bytes


@pytest.mark.parametrize("kind", SMALL)
def test_any_number_of_parts_packs_the_bytes_of_one_process(kind: str, opened: Any, tmp_path: Path) -> None:
    settings = opened(kind)
    expected = whole(settings, tmp_path / "whole")
    for parts in (1, 2, 3, 7, 40):
        folders = divided(settings, tmp_path / "parts", parts)
        assert merged(settings, folders, tmp_path / f"merged-{parts}") == expected, parts
    assert json.loads((tmp_path / "parts" / "1-of-40" / "part.json").read_text())["count"] == 0, "more parts than images"


@pytest.mark.parametrize("kind", ["digits-1797", "mnist-5k"])
def test_parts_of_embedded_sets(kind: str, data_settings: Make, tmp_path: Path) -> None:
    settings = data_settings(source=kind, holdout=0.2)
    expected = whole(settings, tmp_path / "whole")
    for parts in (1, 2, 3, 7):
        assert merged(settings, divided(settings, tmp_path / "parts", parts), tmp_path / f"merged-{parts}") == expected, parts


def test_what_occurs_across_parts(raw: Path, tmp_path: Path, data_settings: Make, encode: Encode, capsys: Any) -> None:
    """Equal images under one label and under several, rejected images, classes that one part alone has; several shards."""
    settings = data_settings(source="folder", path=str(raw), resolution=256, channels=3, holdout=0.4, shard_mib=1, max_rejected=3)
    shutil.copy(raw / "a" / "0.png", raw / "a" / "again.png")
    for name in ("b/conflict.png", "c/conflict.png", "d/conflict.png", "c/conflict 2.png"):
        (raw / name).parent.mkdir(exist_ok=True)
        shutil.copy(raw / "a" / "3.png", raw / name)
    for name in ("a/broken.png", "b/broken.png", "d/broken.png"):
        (raw / name).write_text("not an image")
    expected = whole(settings, tmp_path / "whole")
    said = capsys.readouterr().err
    manifest = Manifest.model_validate_json(expected["manifest.json"])
    assert (manifest.duplicates, manifest.label_conflicts, len(manifest.rejected), len(manifest.classes)) == (5, 1, 3, 4)
    assert len(manifest.shards) > 5 and "images under several labels, of which the most frequent one was kept: 1\n" in said
    for parts in (1, 2, 3, 7, 50):
        assert merged(settings, divided(settings, tmp_path / "parts", parts), tmp_path / f"merged-{parts}") == expected, parts
        assert capsys.readouterr().err == said


def test_a_part_depends_on_its_share_and_not_on_the_place(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    """Parts made at different paths belong together, and what the merge alone does can change without making them again."""
    copy = shutil.copytree(raw, tmp_path / "other place")
    first = data_settings(source="folder", path=str(raw))
    second = data_settings(source="folder", path=str(copy), holdout=0.5, licence="CC0", shard_mib=1, max_rejected=9)
    pack_part(first, 1, 2, tmp_path / "1", progress=False)
    pack_part(second, 2, 2, tmp_path / "2", progress=False)
    assert merged(second, [tmp_path / "2", tmp_path / "1"], tmp_path / "merged") == whole(second, tmp_path / "whole")
    text = (tmp_path / "1" / "part.json").read_text()
    assert str(tmp_path) not in text


# ---- the same complaints


def complaint(attempt: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        attempt()
    return str(caught.value)


def test_a_merge_complains_as_packing_does(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    """Of what no part can see by itself."""

    def compare(said: str, **changes: Any) -> None:
        settings = data_settings(**{"source": "folder", "path": str(raw), **changes})
        expected = complaint(lambda: whole(settings, tmp_path / "packed"))
        shutil.rmtree(tmp_path / "parts", ignore_errors=True)
        folders = divided(settings, tmp_path / "parts", 4)
        assert complaint(lambda: merged(settings, folders, tmp_path / "packed")) == expected and said in expected
        assert not (tmp_path / "packed").exists()

    compare("leaves none of 30 images for training", holdout=0.9999999)
    for name in ("a/0 broken.png", "c/zz broken.png"):
        (raw / name).write_text("not an image")
    compare("2 of 32 images are rejected, more than data.max_rejected = 1 (a/0 broken.png: not an image of", max_rejected=1)
    shutil.copy(raw / "a" / "0.png", raw / "zero.png")
    shutil.copy(raw / "a" / "3.png", raw / "0 first.png")
    compare("data.labels is true and 0 first.png has no label while others have", max_rejected=2)
    for file in raw.rglob("*.png"):
        file.write_text("not an image")
    compare("no image is left (0 first.png: not an image of", max_rejected=100)


@pytest.mark.parametrize(("folder", "said"), [("", "one class only, 'a'"), ("a", "the source has no labels")])
def test_a_merge_remarks_what_packing_does(
    folder: str, said: str, raw: Path, tmp_path: Path, data_settings: Make, capsys: Any
) -> None:
    for other in "bc":
        shutil.rmtree(raw / other)
    settings = data_settings(source="folder", path=str(raw / folder))
    folders = divided(settings, tmp_path / "parts", 3)
    assert not capsys.readouterr().err
    assert merged(settings, folders, tmp_path / "merged") == whole(settings, tmp_path / "whole")
    first, second = capsys.readouterr().err.splitlines()
    assert first == second and said in first


def test_a_part_fails_alone_when_it_rejects_too_many(raw: Path, tmp_path: Path, data_settings: Make) -> None:
    for name in "xyz":
        (raw / "c" / f"{name}.png").touch()
    settings = data_settings(source="folder", path=str(raw), max_rejected=2)
    pack_part(settings, 1, 3, tmp_path / "1", progress=False)
    message = complaint(lambda: pack_part(settings, 3, 3, tmp_path / "3", progress=False))
    assert message.startswith("3 of 11 images are rejected, more than data.max_rejected = 2 (c/x.png: empty file; c/y.png: ")
    assert not (tmp_path / "3").exists()


def test_a_missing_source_fails_in_its_parts_as_ever(tmp_path: Path, data_settings: Make) -> None:
    settings = data_settings(source="folder", path=str(tmp_path / "nowhere"))
    assert "no such folder; correct the path" in complaint(lambda: pack_part(settings, 1, 2, tmp_path / "1", progress=False))


def refused(settings: DataSettings, folders: list[Path], output: Path, *said: str) -> None:
    message = complaint(lambda: merge(settings, folders, output, progress=False))
    assert all(part in message for part in said) and "\n" not in message, message
    assert not output.exists() and not list(output.parent.glob(".*"))


def test_parts_that_are_not_one_division(settings: DataSettings, parts: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "packed"
    one, two, three = parts
    refused(settings, [], output, "no parts to merge")
    refused(settings, [three, one], output, "part 2 of 3 is missing", "components.prepare --section data --part 2/3")
    refused(settings, [one, two, three, two], output, f"{two} and {two} are both part 2 of 3", "each part once")
    shutil.copytree(two, tmp_path / "copy")
    refused(settings, [one, two, tmp_path / "copy"], output, "are both part 2 of 3")
    pack_part(settings, 2, 2, tmp_path / "other", progress=False)
    refused(settings, [one, two, tmp_path / "other"], output, f"other is part 2 of 2, but {one} is part 1 of 3", "one division")
    refused(settings, [one, tmp_path / "raw"], output, "part.json: missing, so", "is no part of a set", "--part I/N")


def test_parts_of_other_settings(settings: DataSettings, parts: list[Path], tmp_path: Path) -> None:
    changes = {"resolution": 32, "channels": 3, "labels": False, "filter": "box", "background": "#00ff00", "min_side": 9}
    for key, value in changes.items():
        before = getattr(settings, key)
        now = settings.model_copy(update={key: value})
        said = f"made with data.{key} {before!r}, but it is {value!r} now"
        refused(now, parts, tmp_path / "packed", str(parts[0]), said, "prepare this part again, or set it back")
    pack_part(settings.model_copy(update={"margin": 2}), 2, 3, parts[1], progress=False)
    refused(settings, parts, tmp_path / "packed", f"{parts[1]}: made with data.margin 2, but it is 0 now")


def test_parts_of_a_source_that_changed_in_between(settings: DataSettings, parts: list[Path], tmp_path: Path) -> None:
    """One image more and one less: the number alone would not tell."""
    raw = Path(settings.path)
    (raw / "a" / "0.png").rename(raw / "b" / "0.png")
    pack_part(settings, 2, 3, parts[1], progress=False)
    said = f"{parts[1]}: its source had 30 images, and {parts[0]} saw other ones (30)"
    refused(settings, parts, tmp_path / "packed", said, "prepare all parts again")


def test_parts_that_are_damaged(settings: DataSettings, parts: list[Path], tmp_path: Path) -> None:
    def flipped(content: bytes) -> bytes:
        return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]

    changes: list[tuple[str, Callable[[bytes], bytes], str]] = [
        ("pixels", flipped, "image 9 is not what was written there; check its disk, prepare it again"),
        ("pixels", lambda content: content[:-1], "damaged, it is not what was written there; prepare part 2 of 3 again"),
        ("labels", flipped, "damaged, it is not"),
        ("digests", flipped, "damaged, it is not"),
        ("families", flipped, "damaged, it is not"),
        ("held_out", flipped, "damaged, it is not"),
        ("part.json", lambda content: content[:-9], "cannot be read"),
        ("part.json", lambda content: content.replace(b'"count": 10', b'"count": "x"'), "damaged or edited"),
        (
            "part.json",
            lambda content: content.replace(b'"format": 3', b'"format": 9'),
            "format 9, but this version reads format 3",
        ),
    ]
    for name, change, said in changes:
        path = parts[1] / name
        before = path.read_bytes()
        path.write_bytes(change(before))
        assert path.read_bytes() != before
        refused(settings, parts, tmp_path / "packed", str(path), said)
        path.write_bytes(before)
    (parts[1] / "pixels").unlink()
    refused(settings, parts, tmp_path / "packed", "pixels: cannot be read (No such file", "prepare part 2 of 3 again")


# ---- where they may go


def test_a_part_is_never_put_over_other_files(settings: DataSettings, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years")
    with pytest.raises(WriteError, match=r"not an earlier output, it holds no part\.json"):
        pack_part(settings, 1, 2, tmp_path / "work", progress=False)
    with pytest.raises(DataError, match=r"lies inside data\.path .*raw', or around it"):
        pack_part(settings, 1, 2, Path(settings.path) / "part", progress=False)
    pack_part(settings, 1, 3, tmp_path / "part", progress=False)
    pack_part(settings, 1, 2, tmp_path / "part", progress=False)
    assert json.loads((tmp_path / "part" / "part.json").read_text())["parts"] == 2, "an earlier part is replaced"


def test_a_merge_never_replaces_its_parts(settings: DataSettings, parts: list[Path], tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"not an earlier output, it holds no manifest\.json"):
        merge(settings, parts, parts[0], progress=False)
    (parts[0].parent / "manifest.json").touch()
    for output in (parts[0].parent, parts[2] / "packed"):
        with pytest.raises(DataError, match=r"lies inside the part .*, or around it; choose another output folder"):
            merge(settings, parts, output, progress=False)
    assert all((part / "pixels").exists() for part in parts) and not (parts[2] / "packed").exists()
