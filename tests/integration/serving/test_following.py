"""A server follows its alias without dropping a request, and goes on with what it has when the registry cannot be followed."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from atelier.io.files import sha256_file
from atelier.models.model import WEIGHTS
from atelier.models.pyfunc import ServedGenerator
from atelier.registry.versions import GENERATOR_HASH
from atelier.serving.follow import Follower
from atelier.serving.metrics import Metrics
from atelier.tracking.client import client
from tests.support.served_process import Answer, Server, about, pixels, register_versions, serving, wait
from tests.support.small import free_port


@pytest.fixture
def name(tracking: Path, checkpoints: list[Path], tmp_path: Path) -> str:
    """A registered name of the test's own with three versions and no alias."""
    register_versions(tmp_path.name, checkpoints)
    return tmp_path.name


@pytest.fixture
def promote(name: str) -> Callable[[int], None]:
    return lambda number: client().set_registered_model_alias(name, "champion", str(number))


def test_requests_go_on_while_versions_change(
    name: str, promote: Callable[[int], None], checkpoints: list[Path], tmp_path: Path
) -> None:
    weights = [sha256_file(checkpoint / WEIGHTS) for checkpoint in checkpoints]
    generated = [ServedGenerator(checkpoint).predict(pd.DataFrame({"seed": [5, 6]})) for checkpoint in checkpoints]
    right: Counter[str] = Counter()
    wrong: list[str] = []
    end = threading.Event()

    def check(answer: Answer) -> None:
        if answer.status != 200:
            wrong.append(f"{answer.status} {answer.body[:200]!r}")
            return
        named = {"model": answer.headers["x-atelier-model"], "weights": answer.headers["x-atelier-weights"]}
        number = int(named["model"].rsplit("/", 1)[1]) - 1
        files = [base64.b64decode(image["png"]) for image in answer.json["images"]]
        told = [{key: about(file)[key] for key in named} for file in files]
        apart = max(np.abs(pixels(file) - image[..., 0]).max() for file, image in zip(files, generated[number], strict=True))
        if named["weights"] != weights[number] or told != [named, named] or apart > 1:
            wrong.append(f"{named} with images of {told}, {apart} apart")
        right[named["model"]] += 1

    def hammer(server: Server) -> None:
        while not end.is_set():
            try:
                check(server.post({"rows": [{"seed": 5}, {"seed": 6}]}))
            except Exception as error:  # a dropped connection counts as well
                wrong.append(repr(error))

    promote(1)
    with serving(tmp_path, f"{name}@champion", "--rate", "100000") as server:
        wait(lambda: server.get("/ready").status == 200)
        threads = [threading.Thread(target=hammer, args=(server,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in (2, 3, 1):
            before = right[f"models:/{name}/{number}"]
            promote(number)
            wait(lambda uri=f"models:/{name}/{number}", before=before: right[uri] > before + 20 or wrong)  # type: ignore[misc]
        end.set()
        for thread in threads:
            thread.join()
        assert not wrong, wrong[:3]
        assert set(right) == {f"models:/{name}/{number}" for number in (1, 2, 3)}
        assert server.metric("atelier_swaps_total") == 4
        assert server.metric(f'atelier_model_in_use{{name="{name}",version="1",weights="{weights[0]}"}}') == 1
        assert server.metric(f'atelier_model_in_use{{name="{name}",version="3",weights="{weights[2]}"}}') == 0
        assert f"serving models:/{name}/2 (weights {weights[1][:12]}), was models:/{name}/1" in server.log


def test_it_waits_for_a_first_version_and_keeps_what_it_has(name: str, promote: Callable[[int], None], tmp_path: Path) -> None:
    uri, first = f"models:/{name}@champion", f"models:/{name}/1"
    with serving(tmp_path, uri) as server:
        wait(lambda: "not in the registry" in server.ready()["trouble"])
        for answer in (server.get("/ready"), server.post({"count": 1}), server.get("/image.png?seed=1"), server.get("/")):
            assert answer.status == 503
        assert f"{uri} is not loaded yet: {uri}: not in the registry" in server.post({"count": 1}).error
        assert server.post({"count": 1}).headers["retry-after"] == "5"
        assert "Nothing is served yet" in server.get("/").body.decode()
        assert server.get("/health").status == 200
        assert server.log.count("nothing to serve yet") == 1, "said once, not at each look"

        promote(1)
        wait(lambda: server.get("/ready").status == 200)
        assert server.serves(first) and server.post({"count": 1}).status == 200

        client().delete_registered_model_alias(name, "champion")
        wait(lambda: server.ready()["trouble"])
        stays(server, first, "not in the registry", 'atelier_registry_errors_total{kind="absent"}')

        foreign = client().create_model_version(name, f"file://{tmp_path}", tags={})
        promote(int(foreign.version))
        wait(lambda: "was not registered by Atelier" in (server.ready()["trouble"] or ""))
        stays(server, first, "was not registered by Atelier", 'atelier_registry_errors_total{kind="unloadable"}')

        client().set_model_version_tag(name, "2", GENERATOR_HASH, "0" * 64)  # whose weights then have another hash
        promote(2)
        wait(lambda: "its hash differs" in (server.ready()["trouble"] or ""))
        stays(server, first, "its hash differs", 'atelier_registry_errors_total{kind="unloadable"}')

        promote(3)
        wait(lambda: server.serves(f"models:/{name}/3"))
        wait(lambda: server.ready()["trouble"] is None)
        assert server.metric("atelier_following") == 1
        assert "<b>models" not in server.get("/").body.decode()


def stays(server: Server, uri: str, trouble: str, counted: str) -> None:
    """The version is served as before, and what is wrong is said in every place."""
    answer = server.post({"count": 1})
    assert (answer.status, answer.headers["x-atelier-model"]) == (200, uri)
    assert server.get("/ready").status == 200
    page = server.get("/").body.decode()
    assert trouble in page and f"<b>{uri} stays in use.</b>" in page
    assert f"{uri} stays in use" in server.log and trouble in server.log
    assert server.metric("atelier_following") == 0 and server.metric(counted) > 0


@contextlib.contextmanager
def mlflow_server(store: Path, port: int) -> Iterator[None]:
    """MLflow over HTTP on the store of the tests."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store / 'mlflow.db'}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, start_new_session=True, **quiet) as process:  # type: ignore[call-overload]
        try:
            wait(lambda: answers(port))
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def answers(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200
    except OSError:
        return False


def test_it_goes_on_while_mlflow_is_away_and_follows_when_it_is_back(
    name: str, promote: Callable[[int], None], tracking: Path, tmp_path: Path
) -> None:
    port = free_port()
    promote(1)
    with serving(tmp_path, f"{name}@champion", tracking=f"http://someone:sesame@127.0.0.1:{port}") as server:
        wait(lambda: "cannot be used" in server.ready()["trouble"])
        assert server.get("/ready").status == 503
        with mlflow_server(tracking, port):
            wait(lambda: server.serves(f"models:/{name}/1"))
        wait(lambda: server.ready()["trouble"])
        stays(server, f"models:/{name}/1", "cannot be used", 'atelier_registry_errors_total{kind="away"}')
        with mlflow_server(tracking, port):
            wait(lambda: server.ready()["trouble"] is None)
            assert f"is known again: it is models:/{name}/1, in use" in server.log
            promote(2)
            wait(lambda: server.serves(f"models:/{name}/2"))
        assert "sesame" not in server.log + server.get("/").body.decode() + str(server.ready())


def test_sigterm_answers_the_requests_that_came_and_exits_with_0(
    name: str, promote: Callable[[int], None], tmp_path: Path
) -> None:
    promote(1)
    body = b'{"count": 4}'
    head = f"POST /generate HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with serving(tmp_path, f"{name}@champion") as server:
        wait(lambda: server.get("/ready").status == 200)
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(head + body[:5])
            server.get("/health")  # the server has begun with the request above
            server.process.send_signal(signal.SIGTERM)
            wait(lambda: not accepts(server.port))
            connection.sendall(body[5:])
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 ") and answer.count(b'"png"') == 4
        assert server.process.wait(60) == 0
        assert "Traceback" not in server.log


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["digits"], 2, "digits names no registered generator; write NAME@champion or NAME/NUMBER"),
        (["digits@latest"], 2, "digits@latest names no registered generator"),
        (["digits@champion", "--rate", "0"], 2, "0: give a number above 0"),
        (["digits@champion", "--queue", "-1"], 2, "-1: give a whole number of at least 1"),
        (["digits@champion", "--port", "70000"], 2, "70000 is no port"),
        (["digits@champion", "--port", "0", "--device", "abacus"], 1, "error: --device abacus: cannot be used here"),
    ],
)
def test_a_wrong_command_line_is_told(arguments: list[str], code: int, message: str) -> None:
    done = subprocess.run([sys.executable, "-m", "atelier.serving", *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == code and message in done.stderr.splitlines()[-1]


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "atelier.serving", "digits@champion", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and done.stderr.startswith(f"error: 127.0.0.1:{port}: cannot listen there (")


def test_the_versions_of_before_are_removed(name: str, promote: Callable[[int], None], tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    follower = Follower(f"models:/{name}@champion", "cpu", 0.05, scratch, Metrics())
    scratch.mkdir()
    follower.start()
    try:
        for number in (1, 2, 3):
            promote(number)
            wait(lambda uri=f"models:/{name}/{number}": follower.current and follower.current.uri == uri)  # type: ignore[misc]
        wait(lambda: {folder.name.split("-")[0] for folder in scratch.iterdir()} == {"2", "3"})
    finally:
        follower.stop()
