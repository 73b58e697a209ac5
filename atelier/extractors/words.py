"""Texts as vectors: the mean of the vectors of their words, out of a file of one's own (word2vec, GloVe, fastText).

  python -m atelier.extractors.words vectors.vec

The file is text: a word and its numbers a line, as GloVe's are and word2vec's and fastText's (.vec) with a first line that counts
them. The command keeps it by its hash in the user's cache (XDG_CACHE_HOME/atelier), where a generator that was trained by it
finds it; packing does the same.

A word is looked up as it is written, else in small letters. The mean (Mikolov et al. 2013; Iyyer et al. 2015) is divided by its
length, computed in float64, and rounded to float16 (kept as float32). Words that the file has not are left out.
"""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from atelier import command_line
from atelier.extractors.errors import ExtractorError
from atelier.extractors.weights import keep, kept_at, read, read_kept

ENCODER = "word_vectors"
WORD = re.compile(r"\w+(?:['’.-]\w+)*")
HEADER = re.compile(rb"\s*\d+\s+\d+\s*")
COMMAND = "python -m atelier.extractors.words FILE"


class WordVectors:
    """The lines of a file, of which a word's numbers are read when it is looked up. `size` is how many there are."""

    def __init__(self, content: bytes, origin: str) -> None:
        """Raises ExtractorError for what is no such file."""
        self.content, self.origin, self.lines, self.size = content, origin, dict[bytes, tuple[int, int]](), 0
        start = content.find(b"\n") + 1 if HEADER.fullmatch(content.partition(b"\n")[0]) else 0
        while start < len(content):
            end = content.find(b"\n", start)
            end = len(content) if end < 0 else end
            space = content.find(b" ", start, end)
            if space > start:
                self.lines.setdefault(content[start:space], (space, end))
            start = end + 1
        for space, end in list(self.lines.values())[:1]:
            self.size = len(content[space:end].split())
        if self.size < 2:
            raise ExtractorError(f"{origin}: is no file of word vectors; give one with a word and its numbers a line, as GloVe's")

    def __getitem__(self, word: str) -> np.ndarray | None:
        """The numbers of a word, float64 [D], None for one that is not there. Raises ExtractorError for a damaged line."""
        for spelled in (word, word.lower()):
            if place := self.lines.get(spelled.encode()):
                try:
                    values = np.array(self.content[slice(*place)].split(), dtype=np.float64)
                except ValueError:
                    values = np.empty(0)
                if values.shape != (self.size,) or not np.isfinite(values).all():
                    raise ExtractorError(f"{self.origin}: the line of {spelled!r} is not {self.size} finite numbers; mend it")
                return values
        return None

    def embed(self, texts: Sequence[str]) -> tuple[np.ndarray, Counter[str]]:
        """float32 [N, D] of length 1 with values of float16, and the words that were not found, with how often.

        Raises ExtractorError for a text without a vector.
        """
        found, unknown = np.empty((len(texts), self.size), np.float32), Counter[str]()
        for row, text in enumerate(texts):
            words = WORD.findall(unicodedata.normalize("NFC", text))
            vectors = {word: self[word] for word in words}
            unknown.update(word for word in words if vectors[word] is None)
            known = [vector for word in words if (vector := vectors[word]) is not None]
            mean = np.mean(known, axis=0) if known else np.zeros(self.size)
            if not (length := float(np.linalg.norm(mean))):
                raise ExtractorError(f"{self.origin}: has a vector for no word of {text!r}; say it in other words, or add them")
            found[row] = (mean / length).astype(np.float16)
        return found, unknown


def embed_texts(sha256: str, texts: Sequence[str]) -> tuple[np.ndarray, Counter[str]]:
    """The vectors of texts by the kept file of this hash, and the words that it has not. Raises ExtractorError."""
    return _vectors(sha256).embed(texts)


def bring(source: str, sha256: str, setting: str) -> None:
    """Keeps the file at a path or an s3:// URI by its hash. Raises ExtractorError, also for another hash than `sha256`."""
    if kept_at(_name(sha256)).exists():
        return
    file = read(source, setting)
    if file.sha256 != sha256:
        raise ExtractorError(f"{source}: its sha256 is {file.sha256}, and {setting} says {sha256}; correct one of them")
    WordVectors(file.content, source)
    keep(_name(sha256), file.content, sha256)


@lru_cache(maxsize=1)
def _vectors(sha256: str) -> WordVectors:
    remedy = f"bring it with `{COMMAND}`, the file of this hash"
    file = read_kept(_name(sha256), sha256, remedy)
    return WordVectors(file.content, file.origin)


def _name(sha256: str) -> str:
    return f"word_vectors-{sha256}.txt"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m atelier.extractors.words", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE", help="the word vectors, a path or an s3:// URI")
    args = parser.parse_args()
    sha256 = read(args.file, "FILE").sha256
    bring(args.file, sha256, "FILE")
    print(f"{kept_at(_name(sha256))}: kept; words: {args.file}, sha256: {sha256}")


if __name__ == "__main__":
    command_line.run(main)
