"""What a signed image says, and that nothing that is done to it afterwards passes."""

from __future__ import annotations

import io
import json
import socket
from functools import partial
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from PIL import Image

from atelier.provenance.findings import NO_LOG, NOT_LOOKED, NOTHING, look, words
from atelier.provenance.keys import ANCHORS, FOLDER, signing_key, trusted
from atelier.provenance.labels import SOURCE_TYPES
from atelier.provenance.leaving import labelled
from atelier.provenance.reading import UnreadableImageError
from tests.support.credentials import ABOUT, FAILS, changed, chunks, flipped, make_key, png_of, signed_png, tampered


def pixels(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file)) as picture:
        return np.asarray(picture)


@pytest.fixture(scope="module")
def other(key: Path) -> bytes:
    """Another signed image of the same size."""
    return labelled(Image.new("RGB", (16, 16), "red"), ABOUT | {"seed": 9})


def test_a_signed_image_says_who_and_what_made_it(key: Path, signed: bytes) -> None:
    found = look(signed, trusted())
    assert found.credentials and found.credentials.state == "Trusted" and not found.credentials.failures
    manifest = found.credentials.manifest
    assert manifest and manifest.signer == "digits of Atelier's tests" and manifest.about == ABOUT == found.about
    assert found.xmp == {"digital_source_type": "trainedAlgorithmicMedia", "system": "Atelier, models:/digits/4"}
    first, *_ = words(found)
    assert first == "signed by digits of Atelier's tests, under a root that is trusted here; unchanged since"


def test_its_first_action_is_exactly_what_readers_look_for(signed: bytes) -> None:
    with c2pa.Context.from_dict({}) as context, c2pa.Reader("image/png", io.BytesIO(signed), None, context) as reader:
        manifest: Any = reader.get_active_manifest()
    (actions,) = [one["data"]["actions"] for one in manifest["assertions"] if one["label"].startswith("c2pa.actions")]
    assert actions == [{"action": "c2pa.created", "digitalSourceType": f"{SOURCE_TYPES}trainedAlgorithmicMedia"}]
    assert not [one for one in manifest["assertions"] if "thumbnail" in one["label"]]


def test_signing_changes_no_pixel_and_is_never_the_same(key: Path, signed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    again = signed_png()
    monkeypatch.delenv(FOLDER)
    plain = signed_png()
    assert signed != again and plain == signed_png()
    assert (pixels(signed) == pixels(plain)).all() and len(signed) - len(plain) < 4000


def test_who_is_not_known_is_not_trusted(key: Path, signed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = make_key(tmp_path, monkeypatch)
    for anchors in ("", (stranger / ANCHORS).read_text()):
        found = look(signed, anchors).credentials
        assert found and found.state == "Valid" and found.failures == ["signingCredential.untrusted"]
        assert "the name proves nothing" in words(look(signed, anchors))[0]


@pytest.mark.parametrize("name", FAILS)
def test_what_was_done_to_a_signed_image_is_found(name: str, key: Path, signed: bytes, other: bytes) -> None:
    found = look(tampered(signed, other)[name], trusted())
    assert found.credentials and found.credentials.state == "Invalid" and FAILS[name] in found.credentials.failures
    assert words(found)[0].startswith("NOT AS SIGNED") and not [line for line in words(found) if line.startswith("says")]


def test_a_manifest_that_was_removed_leaves_labels_that_are_not_believed(key: Path, signed: bytes, other: bytes) -> None:
    found = look(tampered(signed, other)["manifest removed"], trusted())
    assert found.credentials is None and found.about == ABOUT and "unsigned" in words(found)[0]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_an_image_that_was_saved_again_says_nothing_and_that_proves_nothing(form: str, key: Path, signed: bytes) -> None:
    with Image.open(io.BytesIO(signed)) as picture:
        plain, again = Image.fromarray(np.asarray(picture)), io.BytesIO()
    plain.save(again, form)
    found = look(again.getvalue(), trusted())
    assert not found.known and words(found) == [NOTHING.format(sought=f"{NOT_LOOKED}; {NO_LOG}")]


def test_no_bit_of_a_manifest_can_be_turned_so_that_it_says_something_else(key: Path, signed: bytes) -> None:
    """Bits that fill its signature up may be turned: then it says what it said."""
    whole, manifest = look(signed, trusted()).credentials, dict(chunks(signed))[b"caBX"]
    states = set()
    for place in range(0, len(manifest), 61):
        found = look(changed(signed, b"caBX", partial(flipped, place=place)), trusted()).credentials
        assert found and (found.state == "Invalid" or found == whole)
        states.add(found.state)
    assert states == {"Invalid", "Trusted"}


@pytest.mark.parametrize("form", ["WEBP", "GIF", "PNG"])
def test_moving_pictures_are_labelled_and_signed(form: str, key: Path) -> None:
    steps = [Image.new("RGB", (16, 16), color) for color in ("red", "green", "blue")]
    file = labelled(steps[0], ABOUT, form=form, save_all=True, append_images=steps[1:], duration=50, loop=0)
    found = look(file, trusted())
    assert found.credentials and found.credentials.state == "Trusted"
    assert found.xmp and found.xmp["digital_source_type"] == "trainedAlgorithmicMedia"
    with Image.open(io.BytesIO(file)) as picture:
        assert getattr(picture, "n_frames", 1) == 3


def test_marks_of_what_an_image_was_made_of_are_kept(key: Path, signed: bytes, other: bytes) -> None:
    broken = tampered(signed, other)["pixels"]
    of = signed_png(photo=signed, broken=broken, plain=pixels(signed).tobytes())
    found = look(of, trusted())
    assert found.credentials and found.credentials.state == "Trusted" and found.credentials.manifest
    photo, changed, plain = found.credentials.manifest.ingredients
    assert photo.title == "photo" and not photo.failures and photo.manifest and photo.manifest.about == ABOUT
    assert changed.failures == ["assertion.dataHash.mismatch"] and plain.manifest is None
    assert set(found.credentials.manifest.about["inputs"]) == {"photo", "broken", "plain"}
    assert any("made of: broken" in line and "NOT AS SIGNED" in line for line in words(found))


def test_a_manifest_elsewhere_is_not_fetched(key: Path, signed: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        manifest = {"claim_generator_info": [{"name": "a stranger"}], "assertions": []}
        with c2pa.Context.from_dict({"verify": {"verify_after_sign": False}}) as context:
            builder = c2pa.Builder.from_json(manifest, context)
            builder.set_intent(c2pa.C2paBuilderIntent.CREATE, c2pa.C2paDigitalSourceType.DIGITAL_CREATION)
            builder.set_no_embed()
            builder.set_remote_url(f"http://127.0.0.1:{server.getsockname()[1]}/manifest")
            own = signing_key()
            assert own
            info = c2pa.C2paSignerInfo(own.algorithm.encode(), own.chain.encode(), own.key, None)
            plain, file = io.BytesIO(), io.BytesIO()
            Image.new("RGB", (16, 16)).save(plain, "PNG")
            with c2pa.Signer.from_info(info) as signer:
                builder.sign(signer, "image/png", io.BytesIO(plain.getvalue()), file)
        found = look(file.getvalue(), trusted())
        signed_png(photo=file.getvalue())
        with pytest.raises(TimeoutError):
            server.accept()
    assert found.credentials is None or found.credentials.manifest is None


def test_texts_of_strangers_are_shown_and_not_obeyed(key: Path) -> None:
    for about, shown in (("[[" * 3, "unreadable"), ("[1]", "unreadable"), (json.dumps({"a": "x" * 1000}), "...")):
        edited = b"atelier\0" + about.encode()
        file = png_of([(kind, edited if kind == b"tEXt" else content) for kind, content in chunks(signed_png())])
        assert any(shown in line for line in words(look(file, "")) if line.startswith("text chunk"))
    with pytest.raises(UnreadableImageError, match="no image"):
        look(b"GIF89a and no more", "")
