"""What a running server answers: images that can be traced, in every form, and one clear line for what it cannot give."""

from __future__ import annotations

import base64
import io
import json
import re
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from atelier.io.files import sha256_file
from atelier.io.pictures import grid
from atelier.models.model import WEIGHTS
from atelier.models.pyfunc import ServedGenerator
from atelier.tracking.client import client
from tests.support.served_process import CLASSES, Server, about, pixels, register_versions, serving, wait

URI = "models:/answers/1"
OPTIONS = ("--images", "8", "--body", "4096", "--rate", "100000")


@pytest.fixture(scope="module")
def server(tracking: Path, checkpoints: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    register_versions("answers", checkpoints[:1])
    client().set_registered_model_alias("answers", "champion", "1")
    with serving(tmp_path_factory.mktemp("log"), "answers@champion", *OPTIONS) as running:
        wait(lambda: running.get("/ready").status == 200)
        yield running


@pytest.fixture(scope="module")
def weights(checkpoints: list[Path]) -> str:
    return sha256_file(checkpoints[0] / WEIGHTS)


@pytest.fixture(scope="module")
def local(checkpoints: list[Path]) -> ServedGenerator:
    """The same generator in this process."""
    return ServedGenerator(checkpoints[0])


def same(file: bytes, image: np.ndarray) -> bool:
    return bool(np.abs(pixels(file) - image.squeeze()).max() <= 1)  # batches of another size round differently


def test_one_image_is_what_the_generator_paints_and_says_where_it_comes_from(
    server: Server, local: ServedGenerator, weights: str
) -> None:
    answer = server.get("/image.png?seed=7&class=one&truncation=0.7")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert (answer.headers["x-atelier-model"], answer.headers["x-atelier-weights"]) == (URI, weights)
    assert same(answer.body, local.predict(pd.DataFrame({"seed": [7], "class": ["one"], "truncation": [0.7]})))
    assert about(answer.body) == {"model": URI, "weights": weights, "seed": 7, "class": "one", "truncation": 0.7}
    assert b"tEXtatelier\0" in answer.body


def test_a_class_in_an_address_may_be_an_index(server: Server) -> None:
    assert about(server.get("/image.png?seed=7&class=2").body)["class"] == CLASSES[2]


def test_rows_come_as_json(server: Server, local: ServedGenerator, weights: str) -> None:
    rows: list[dict[str, Any]] = [
        {"seed": 1, "class": "zero", "truncation": 0.5},
        {"latent": [0.5, -0.5, 1, 0], "class": 1},
        {"seed": 3},
    ]
    answer = server.post({"rows": rows})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert (answer.json["model"], answer.json["weights"]) == (URI, weights)
    expected = local.predict(pd.DataFrame(rows))
    for image, row, right in zip(answer.json["images"], rows, expected, strict=True):
        file = base64.b64decode(image["png"])
        assert same(file, right)
        assert about(file) == {"model": URI, "weights": weights, **image["row"]}
        assert image["row"].get("seed") == row.get("seed")
    assert answer.json["images"][1]["row"]["latent"] == [0.5, -0.5, 1, 0]


def test_a_count_stands_for_seeds_that_follow_each_other(server: Server) -> None:
    images = server.post({"count": 3, "seed": 5, "class": "one", "truncation": 0.5}).json["images"]
    assert [image["row"] for image in images] == [{"seed": s, "class": "one", "truncation": 0.5} for s in (5, 6, 7)]
    assert [image["row"]["seed"] for image in server.post({"count": 2}).json["images"]] == [0, 1]
    alone = {"seed": 5, "class": "one", "truncation": 0.5}
    assert server.post(alone).json["images"] == images[:1], "a row by itself"


def test_a_contact_sheet(server: Server, local: ServedGenerator, weights: str) -> None:
    answer = server.post({"count": 7, "seed": 2}, accept="image/png")
    assert (answer.status, answer.headers["content-type"], answer.headers["x-atelier-model"]) == (200, "image/png", URI)
    images = local.predict(pd.DataFrame({"seed": list(range(2, 9))}))
    assert same(answer.body, np.asarray(grid(images.transpose(0, 3, 1, 2), 3)))
    told = about(answer.body)
    assert (told["model"], told["weights"]) == (URI, weights)
    assert [row["seed"] for row in told["rows"]] == list(range(2, 9))


def test_files_in_a_zip(server: Server, local: ServedGenerator) -> None:
    answer = server.post({"count": 3}, accept="application/zip")
    assert (answer.status, answer.headers["content-type"], answer.headers["x-atelier-model"]) == (200, "application/zip", URI)
    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    assert archive.namelist() == ["0000.png", "0001.png", "0002.png"]
    for seed, image in enumerate(local.predict(pd.DataFrame({"seed": [0, 1, 2]}))):
        file = archive.read(f"{seed:04}.png")
        assert same(file, image) and about(file)["seed"] == seed
    assert server.post({"count": 3}, accept="application/zip").body == answer.body


def test_the_page_shows_the_version_and_takes_nothing_from_elsewhere(server: Server, weights: str) -> None:
    answer = server.get("/")
    page = answer.body.decode()
    assert (answer.status, answer.headers["x-atelier-model"]) == (200, URI)
    assert answer.headers["content-type"].startswith("text/html")
    assert URI in page and weights in page and "zero, one, &lt;b&gt;&amp;" in page and "<b>&" not in page
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert [one for one in addresses if "?" in one] == [f"image.png?seed={seed}" for seed in range(16)], "without scripts"
    for address in {*addresses}:
        got = server.get(f"/{address}")
        assert got.status == 200 and got.body, address
    module = server.get("/" + next(one for one in addresses if one.endswith("main.js")))
    assert module.headers["content-type"].startswith("text/javascript") and "immutable" in module.headers["cache-control"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff" and "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "seed is ''; give a whole number"),
        ("seed=a", "seed is 'a'"),
        ("seed=9223372036854775808", "give a whole number from -9223372036854775808 to 9223372036854775807, such as ?seed=7"),
        ("seed=18446744073709551615", "give a whole number from -9223372036854775808 to 9223372036854775807, such as ?seed=7"),
        ("seed=1.5", "seed is '1.5'"),
        ("seed=1&class=nine", "class is 'nine'; give a name (zero, one, <b>&) or a number below 3"),
        ("seed=1&class=3", "class is 3"),
        ("seed=1&class=", "class is ''"),
        ("seed=1&truncation=0", "truncation is 0.0; give a number above 0 and at most 1"),
        ("seed=1&truncation=nan", "truncation is 'nan'"),
        ("seed=1&truncation=", "truncation is ''"),
        ("seed=1&truncatoin=0.5", "the address has 'truncatoin', which means nothing here; known: seed, class, truncation"),
    ],
)
def test_a_wrong_address_is_told(server: Server, query: str, message: str) -> None:
    answer = server.get(f"/image.png?{query}")
    assert answer.status == 422 and message in answer.error and "\n" not in answer.error
    assert answer.headers["x-atelier-model"] == URI


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 4000, "the body is not JSON"),
        (b'{"rows": [{"seed": NaN}]}', "the body is not JSON (NaN is no number of JSON)"),
        (b"[]", 'give {"rows":'),
        ({}, 'give {"rows":'),
        (b'{"count": 1, "count": 2}', "the body has 'count' twice; give it once"),
        (b'{"rows": [{"seed": 1, "class": "one", "seed": 1}]}', "the body has 'seed' twice; give it once"),
        ({"rows": [{"seed": 1}], "count": 1}, 'give {"rows":'),
        ({"rows": []}, "rows is []; give a list of 1 to 8 rows"),
        ({"rows": [{"seed": 1}], "class": "one"}, "the body has 'class'"),
        ({"rows": [1]}, "row 0 is 1"),
        ({"rows": [{"seed": 1}, {"sed": 1}]}, "row 1 has 'sed', which means nothing here; known: seed, latent"),
        ({"rows": [{"seed": True}]}, "row 0: seed is true"),
        ({"rows": [{"seed": 1}, {"seed": 2**64}]}, "row 1: seed is 18446744073709551616; give a whole number from -92"),
        (b'{"rows": [{"seed": 1e999}]}', "row 0: seed is inf"),
        ({"rows": [{"seed": 1, "class": ["one"]}]}, "row 0: class is ['one']"),
        ({"rows": [{"seed": 1, "class": "\ud800"}]}, "row 0: class is '\\ud800'"),
        ({"rows": [{"seed": 1, "truncation": 10**400}]}, "row 0: truncation is 1000"),
        ({"rows": [{"latent": [10**400] * 4, "class": 0}]}, "row 0: latent is [1000"),
        ({"rows": [{"class": "one"}]}, "row 0: give a seed, or a latent of 4 numbers"),
        ({"rows": [{"seed": n} for n in range(9)]}, "9 images are asked for; a request gets at most 8"),
        ({"count": 9}, "9 images are asked for; a request gets at most 8"),
        ({"sed": 1}, "the body has 'sed', which means nothing here; known: rows, count, seed, latent"),
        ({"count": 0}, "count is 0; give a whole number from 1 to 8"),
        ({"count": 1.5}, "count is 1.5"),
        ({"count": True}, "count is True"),
        ({"count": 2, "seed": 2**63 - 1}, "seed is 9223372036854775807; with count 2 give"),
        ({"count": 2, "seed": "7"}, "seed is '7'"),
        ({"count": 2, "class": "nine"}, "row 0: class is 'nine'"),
        ({"count": 2, "truncation": 1.5}, "row 0: truncation is 1.5"),
        ({"count": 2, "latent": [0, 0, 0, 0]}, "the body has 'latent'"),
    ],
)
def test_a_wrong_body_is_told(server: Server, body: Any, message: str) -> None:
    answer = server.post(body)
    assert answer.status == 422 and message in answer.error and "\n" not in answer.error


def test_a_form_that_cannot_be_had_is_told(server: Server) -> None:
    answer = server.post({"count": 1}, accept="image/jpeg")
    assert answer.status == 406 and "application/json, image/png, application/zip" in answer.error
    assert server.post({"count": 1}, accept="image/jpeg, image/*;q=0.5").headers["content-type"] == "image/png"


def test_a_long_body_is_refused_with_and_without_its_length(server: Server) -> None:
    long = json.dumps({"rows": [{"seed": 1, "class": "x" * 5000}]}).encode()
    answer = server.post(long)
    assert answer.status == 413 and "larger than 4096 bytes" in answer.error
    head = "POST /generate HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert raw(server, head.encode() + f"{len(long):x}\r\n".encode() + long).startswith(b"HTTP/1.1 413 ")


def raw(server: Server, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(sent)
        return connection.recv(4096)


def test_other_addresses_are_told(server: Server) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("GET", "/generate", 405), ("GET", "/docs", 404)):
        answer = server.ask(method, path)
        assert answer.status == status and answer.error == f"{method} {path} is not served; see the page at /"


def test_metrics_count_what_was_asked(server: Server, weights: str) -> None:
    names = {
        "generated": "atelier_images_total",
        "answered": 'atelier_requests_total{path="/generate",status="200"}',
        "wrong": 'atelier_requests_total{path="/generate",status="422"}',
        "many": 'atelier_rejected_total{reason="images"}',
        "timed": 'atelier_request_seconds_count{path="/generate"}',
        "other": 'atelier_requests_total{path="other",status="404"}',
    }
    before = {name: server.metric(line) for name, line in names.items()}
    assert server.post({"count": 5}).status == 200
    assert server.post({"count": 9}).status == 422
    assert server.get("/nothing").status == 404
    grown = {name: server.metric(line) - before[name] for name, line in names.items()}
    assert grown == {"generated": 5, "answered": 1, "wrong": 1, "many": 1, "timed": 2, "other": 1}
    assert server.metric(f'atelier_model_in_use{{name="answers",version="1",weights="{weights}"}}') == 1
    assert (server.metric("atelier_swaps_total"), server.metric("atelier_following")) == (1, 1)
    assert server.metric("atelier_requests_inside") == 0


def test_alive_and_ready(server: Server, weights: str) -> None:
    assert server.get("/health").json == {"alive": True}
    told = {"ready": True, "serves": "models:/answers@champion", "trouble": None, "model": URI, "weights": weights}
    told |= {
        "images": "not signed: ATELIER_CREDENTIALS names no key",
        "pixels": "not watermarked: ATELIER_WATERMARK names no secret",
        "detector": None,
        "log": "not logged: ATELIER_LOG names no file",
        "paint": "server",
    }
    wait(lambda: server.ready() == told)
