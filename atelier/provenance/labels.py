"""What an image says of itself without a key: a text chunk in PNG, and IPTC's fields as XMP in PNG, WebP and GIF.

Both are lost when an image is saved again, and anybody can write them: `credentials.py` signs them together with the pixels.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from atelier.io.files import parse_json

ABOUT = "atelier"  # keyword of the text chunk that says how a PNG came to be
SYSTEM = "Atelier"
XMP_KEYWORD = "XML:com.adobe.xmp"  # XMP specification part 3, 1.1.5: of the iTXt chunk of a PNG
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = "trainedAlgorithmicMedia"  # IPTC's code for what a trained model has made
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{iptc}"
 Iptc4xmpExt:DigitalSourceType="{source}"
 Iptc4xmpExt:AISystemUsed="{system}"
 Iptc4xmpExt:AISystemVersionUsed="{version}"/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""
SOURCE = re.compile(re.escape(SOURCE_TYPES) + r"(\w{1,64})")
USED = re.compile(r"AISystemUsed\s*(?:=\s*[\"']|>)([^\"'<]{1,200})")
# XMP specification part 3, 1.1.2: the application extension of a GIF, and the bytes that lead any reader of blocks to its end.
GIF_EXTENSION, GIF_TRAILER = b"\x21\xff\x0bXMP DataXMP", bytes([1, *range(255, -1, -1), 0])


def text(about: Mapping[str, Any]) -> str:
    """The content of the text chunk: `about` as ASCII JSON."""
    return json.dumps(about)


def xmp(about: Mapping[str, Any]) -> str:
    """An XMP packet with IPTC's fields (Photo Metadata 2025.1): made by a trained model, by which, and its version.

    The version is the sha256 of the weights, where `about` knows them.
    """
    system = f"{SYSTEM}, {about['model']}" if "model" in about else SYSTEM
    return PACKET.format(
        iptc=IPTC, source=SOURCE_TYPES + GENERATED, system=html.escape(system), version=html.escape(about.get("weights", ""))
    )


def options(form: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """What Pillow's `save` is told so that a PNG or WebP carries its labels; a GIF gets them by `appended`."""
    if form == "PNG":
        chunks = PngInfo()
        chunks.add_text(ABOUT, text(about))
        chunks.add_itxt(XMP_KEYWORD, xmp(about))
        return {"pnginfo": chunks}
    return {"xmp": xmp(about).encode()} if form == "WEBP" else {}


def appended(form: str, content: bytes, about: Mapping[str, Any]) -> bytes:
    """The file with the labels that Pillow does not write: the XMP of a GIF, before its first picture."""
    if form != "GIF":
        return content
    flags = content[10]  # GIF 89a, section 18: whether colors follow the 13 bytes of the header, and how many
    start = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    return content[:start] + GIF_EXTENSION + xmp(about).encode() + GIF_TRAILER + content[start:]


def read_text(picture: Image.Image) -> dict[str, Any] | None:
    """What our text chunk says, None where there is none; it may stand in a stranger's file, so nothing of it is believed."""
    said = picture.info.get(ABOUT)
    if not isinstance(said, str):
        return None
    try:
        about = parse_json(said)
    except ValueError:
        return {"unreadable": said[:200]}
    return about if isinstance(about, dict) else {"unreadable": said[:200]}


def read_xmp(picture: Image.Image, content: bytes) -> dict[str, str] | None:
    """IPTC's code of what an image is and the system that made it, as the XMP of its file says; None where that says neither.

    The packet is searched for both and not parsed, since a stranger's XML may be made to exhaust who reads it.
    """
    packet = picture.info.get("xmp") or picture.info.get(XMP_KEYWORD) or b""
    if picture.format == "GIF":  # whose XMP Pillow does not read
        packet = content[content.find(GIF_EXTENSION) :] if GIF_EXTENSION in content else b""
    words = packet if isinstance(packet, str) else bytes(packet).decode("utf-8", "replace")
    kind, system = SOURCE.search(words), USED.search(words)
    found = {"digital_source_type": kind and kind[1], "system": system and html.unescape(system[1]).strip()}
    return {name: value for name, value in found.items() if value} or None
