"""libFuzzer, through atheris, on one file of a target's input: `python -m tests.fuzz.guided TARGET WORK FLAG... CORPUS`."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import sys
from pathlib import Path

import atheris

OURS = ["atelier.data", "atelier.io.files"]

with atheris.instrument_imports(include=OURS):
    import atelier.data.sources.idx  # noqa: F401
    from atelier.errors import AtelierError
    from tests.fuzz import readers


def main() -> None:
    name, work, *flags = sys.argv[1:]
    target = readers.TARGETS[name](Path(work) / f"guided-{name}")
    corpus, case = Path(flags[-1]), target.folder / "case"
    corpus.mkdir(parents=True, exist_ok=True)
    whole = target.inputs[0]
    for number, one in enumerate(target.inputs):
        (corpus / str(number)).write_bytes(one[target.guided(one)])
    logging.disable()

    def read(blob: bytes) -> None:
        shutil.rmtree(case, ignore_errors=True)
        case.mkdir()
        for file, content in whole.items():
            if file != target.guided(whole):
                (case / file).write_bytes(content)
        (case / "blob").write_bytes(blob)
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(AtelierError):
            target.read(case)

    atheris.Setup([sys.argv[0], *flags], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
