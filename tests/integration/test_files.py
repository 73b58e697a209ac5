from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from atelier.io import files
from atelier.io.files import atomic_folder
from tests.support.half_written import leftovers
from tests.support.small import ROOT

WRITER = (
    "import sys; from pathlib import Path; from atelier.io.files import atomic_folder\n"
    "with atomic_folder(Path(sys.argv[1])) as aside:\n"
    "    (aside / 'by').write_text('the other'); print(aside, flush=True); sys.stdin.readline()\n"
)


def other_writer(path: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that is writing the folder `path` until it gets a line; and where it writes."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


@pytest.mark.parametrize("name", ["folder", "set[1]", "set*?"])
def test_a_live_writer_is_left_alone_and_a_dead_one_is_cleared(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    process, aside = other_writer(folder)
    with process:
        with atomic_folder(folder) as mine:
            (mine / "by").write_text("me")
        assert (folder / "by").read_text() == "me" and (aside / "by").exists()
        process.communicate("go on\n")
    assert process.returncode == 0 and (folder / "by").read_text() == "the other" and not leftovers(tmp_path)
    process, aside = other_writer(folder)
    with process:
        process.kill()
    assert aside.exists()
    folder.rename(aside.parent / files.OLD)  # as if it was killed between the two renames
    with pytest.raises(RuntimeError), atomic_folder(folder):
        raise RuntimeError
    assert (folder / "by").read_text() == "the other" and not leftovers(tmp_path)
