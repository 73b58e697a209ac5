"""Decodes what strangers send, in processes that are killed where a file takes too long or too much memory."""

from __future__ import annotations

import asyncio
import base64
import binascii
import reprlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from queue import SimpleQueue
from typing import Any

import numpy as np

from atelier.data.process import Recipe
from atelier.models.pyfunc import ServedGenerator
from atelier.networks.given import Decoded, Given
from atelier.networks.inputs import Picture
from atelier.provenance.credentials import Claims
from atelier.provenance.keys import signing_key
from atelier.provenance.reading import MOST_PIXELS, Marks, unreadable
from atelier.serving.decoder import REFUSED, rebuilt
from atelier.serving.decoder_process import MEMORY, SECONDS, DecoderProcess, StartError, UndecodableError
from atelier.serving.limits import Refused

PROCESSES = 2
AGAIN_SECONDS = 5  # after which a server that cannot start a process is worth another try


def squared(value: Any) -> tuple[Any, list[int] | None]:
    """The file of a value and the square of it that is used, None for all of it; a value of another form as it is."""
    if not isinstance(value, dict) or value.keys() != {"file", "square"}:
        return value, None
    square = value["square"]
    whole = isinstance(square, list) and len(square) == 3 and all(type(one) is int for one in square)
    if not whole or min(square[:2]) < 0 or square[2] < 1:
        raise Refused(422, "input", f"square is {reprlib.repr(square)}; give [LEFT, TOP, SIDE] in whole pixels of the file")
    return value["file"], square


class Decoders:
    """A few processes that decode files, each started when it is first needed, and again after a file has ended it."""

    def __init__(self, processes: int = PROCESSES, seconds: float = SECONDS, memory: int = MEMORY) -> None:
        self._limits = seconds, memory
        self._threads = ThreadPoolExecutor(processes, "decoding")
        self._places: SimpleQueue[DecoderProcess | None] = SimpleQueue()
        for _ in range(processes):
            self._places.put(None)

    def start(self) -> None:
        """Starts the processes, so that no upload waits for that. Raises StartError."""
        for _ in range(self._places.qsize()):
            self._places.put(self._places.get() or DecoderProcess(*self._limits))

    async def rows(self, generator: ServedGenerator, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows with a Decoded for each file in base64 that the generator takes. What is not base64, it refuses itself.

        Of a larger picture {"file": BASE64, "square": [LEFT, TOP, SIDE]} gives the square that is used; the file is what the
        image was made of, with its content credentials.

        Raises Refused: 422 naming the row of a file that cannot be used, 503 where no process can be started.
        """
        kinds = {kind.column(name): kind for name, kind in generator.info.takes.items() if kind.form}
        signed, classes = signing_key() is not None, generator.info.classes

        async def decoded(number: int, column: str, value: Any) -> Any:
            kind = kinds[column]
            value, square = squared(value) if isinstance(kind, Picture) else (value, None)
            try:
                file = base64.b64decode(value, validate=True)
            except (TypeError, ValueError, binascii.Error):
                return value
            try:
                return Decoded(file, await self._of(kind, file, signed, square))
            except UndecodableError as error:
                message = f"row {number}: {column} is {reprlib.repr(value)}; give {kind.wants(classes)}; {error}"
                raise Refused(422, error.reason, message) from error

        places = [(number, column) for number, record in enumerate(records) for column in kinds.keys() & record.keys()]
        found = await asyncio.gather(*(decoded(number, column, records[number][column]) for number, column in places))
        rows = [dict(record) for record in records]
        for (number, column), value in zip(places, found, strict=True):
            rows[number][column] = value
        return rows

    async def marks(self, content: bytes, anchors: str, pixels: bool) -> Marks:
        """What atelier.provenance.reading.read says of a file. Raises Refused."""
        told, found = await self._image(content, do="marks", anchors=anchors, pixels=pixels)
        claims, shape = told["claims"], told["shape"]
        seen = np.frombuffer(found, np.uint8).reshape(shape) if shape else None
        return Marks(Claims(**claims) if claims else None, told["about"], told["xmp"], seen)

    async def square(self, content: bytes, recipe: Recipe) -> np.ndarray:
        """The square uint8 [H, W, C] that atelier.data.process makes of an image by a recipe without fields. Raises Refused."""
        limited = replace(recipe, max_pixels=min(recipe.max_pixels, MOST_PIXELS))
        _, found = await self._image(content, do="square", recipe=asdict(limited))
        return np.frombuffer(found, np.uint8).reshape(recipe.resolution, recipe.resolution, recipe.channels)

    async def _of(self, kind: Given, file: bytes, signed: bool, square: list[int] | None) -> Any:
        """The picture or the spectrogram of a file."""
        if kind.form == "picture":
            side: int = kind.resolution  # type: ignore[attr-defined]
            return rebuilt(*await self._ask(file, do="picture", side=side, signed=signed, square=square))
        told, found = await self._ask(file, do=kind.form)
        return np.frombuffer(found, "<f4").reshape(told["shape"]).copy()  # PyTorch wants to be able to write to it

    async def _image(self, content: bytes, **question: Any) -> tuple[dict[str, Any], bytes]:
        try:
            return await self._ask(content, **question)
        except UndecodableError as error:
            raise Refused(422, error.reason, unreadable(str(error))) from error

    async def _ask(self, content: bytes, **question: Any) -> tuple[dict[str, Any], bytes]:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, question, content)
        except StartError as error:
            raise Refused(503, "decoder", "uploads cannot be decoded now; the server's log says why", AGAIN_SECONDS) from error

    def _answer(self, question: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        process = self._places.get()
        try:
            if process is None or not process.alive:
                process = DecoderProcess(*self._limits)
            told, found = process.answer(question, content)
        finally:
            self._places.put(process)
        if REFUSED in told:
            raise UndecodableError(told[REFUSED])
        return told, found
