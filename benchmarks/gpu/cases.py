"""The cases of the test suite that need a GPU: those with "cuda" in their names (tests/support/devices.py).

python -m benchmarks.gpu.cases --device cuda
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys

import pytest

from benchmarks.gpu.children import SAID, say
from benchmarks.gpu.record import FAILED, SKIPPED

FILES = ("tests/unit/training/test_state.py", "tests/unit/metrics/test_onnx_extractor.py", "tests/unit/training/test_gpu.py")


class Told:
    """Says a row for each test, as soon as it is known how it went, on what was stdout before tests print there."""

    def __init__(self) -> None:
        self.rows = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        with contextlib.redirect_stdout(self.rows):
            self._say(report)

    @staticmethod
    def _say(report: pytest.TestReport) -> None:
        name = report.nodeid.split("::")[-1].removeprefix("test_").replace("_", " ")
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            say(name, status=SKIPPED, reason=reason.removeprefix("Skipped: "))
        elif report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message if crash else report.longreprtext
            say(name, status=FAILED, reason=" ".join(reason.split())[:SAID])
        elif report.when == "call":
            say(name, {"s": report.duration})


def main() -> None:
    """Runs them; exits with 0 when all have said how they went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--rehearse", action="store_true", help="one file alone")
    args = parser.parse_args()
    tests = FILES[-1:] if args.rehearse else FILES
    code = pytest.main(["-q", "-p", "no:cacheprovider", "-k", args.device, *tests], plugins=[Told()])
    sys.exit(0 if code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else int(code))


if __name__ == "__main__":
    main()
