"""Saves in S3, on a real server: whole or not there, the newest first, only what is needed."""

from __future__ import annotations

import json
import logging
import math
import select
import socket
import socketserver
import threading
import time
import uuid
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import torch

from atelier.io.storage import S3Storage, StorageAway, StorageError
from atelier.training import s3_mirror, states
from atelier.training.states import RunFolder
from tests.support.mirrored import KEY, fetched, save, sent, tree


@pytest.fixture
def prefix(s3: Any) -> str:
    """An s3:// prefix of the test's own."""
    return f"s3://{s3.bucket}/{uuid.uuid4().hex}"


def names(prefix: str) -> set[str]:
    return {entry.name for entry in S3Storage(prefix).entries()}


def read(prefix: str, name: str) -> bytes:
    storage = S3Storage(prefix)
    return next(iter(storage.read([entry for entry in storage.entries() if entry.name == name])))


def objects(prefix: str, step: int) -> dict[str, str]:
    """Names of the objects that a save consists of, by the name of the file."""
    run = KEY[:16]
    return {
        file["name"]: f"{run}/files/{file['sha256']}"
        for file in json.loads(read(prefix, f"{run}/saves/{step:09d}.json"))["files"]
    }


def test_another_node_gets_the_newest_save_with_all_that_it_needs(prefix: str, tmp_path: Path) -> None:
    here = sent(prefix, tmp_path / "a", 5, 10, 15, best=5)
    (here.path / "started-with.json").write_text("{}")
    save(here, 20, best=5)
    assert here.mirror is not None and here.mirror.wait(60)
    there = fetched(prefix, tmp_path / "b")
    assert there.progress == 20
    expected = {name: content for name, content in tree(here.path).items() if "step-000000015" not in name}
    assert tree(there.path) == expected, (
        "the newest, its best, pictures and what it was started with; the second newest is not needed"
    )
    assert torch.equal(states.read(there.step(20), KEY)[0]["networks"]["value"], torch.full((4,), 20.0))


def test_only_the_newest_two_and_their_best_stay(prefix: str, tmp_path: Path) -> None:
    sent(prefix, tmp_path / "a", 5, 10, 15, 20, best=5)
    run = KEY[:16]
    needed = {f"{run}/saves/000000015.json", f"{run}/saves/000000020.json"}
    assert names(prefix) == needed | {*objects(prefix, 15).values(), *objects(prefix, 20).values()}


def test_a_finished_run_keeps_what_its_checkpoint_is_made_of(prefix: str, tmp_path: Path) -> None:
    here = sent(prefix, tmp_path / "a", 5, 10, best=5)
    here.mark_finished({"step": 5}, {"points": [1]})
    assert here.mirror is not None and here.mirror.wait(60)
    there = fetched(prefix, tmp_path / "b")
    assert there.progress == math.inf and there.finished() == {"evaluation": {"step": 5}, "history": {"points": [1]}}
    kept = {"finished", "grids/000000005.png", "grids/000000010.png", "step-000000005/state.json"}  # which has the hashes
    kept |= {f"step-000000005/{name}.safetensors" for name in ("average-generator", "networks")}
    assert tree(there.path) == {name: content for name, content in tree(here.path).items() if name in kept}
    assert len(names(prefix)) == 1 + len(kept)


def test_a_save_without_its_index_is_none(prefix: str, tmp_path: Path) -> None:
    """A process that dies while it sends leaves files, and no index."""
    here = sent(prefix, tmp_path / "a", 5)
    put, store = S3Storage.put, S3Storage(f"{prefix}/{KEY[:16]}")

    def dies(self: S3Storage, name: str, content: Any) -> None:
        if name.startswith(s3_mirror.SAVES):
            raise SystemExit
        put(self, name, content)

    before = names(prefix)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3Storage, "put", dies)
        states.write(here.step(10), {"networks": {"value": torch.ones(3)}}, {"run_key": KEY, "best": None})
        half = s3_mirror.Save.of("000000010", here.path, sorted(here.step(10).iterdir()))
        with pytest.raises(SystemExit):
            s3_mirror.Mirror(prefix, here.path)._upload(store, half, lambda: False)
    left = names(prefix) - before
    there = fetched(prefix, tmp_path / "b")
    assert left and there.progress == 5
    save(there, 15)
    assert there.mirror is not None and there.mirror.wait(60)
    assert not names(prefix) & left


@pytest.mark.parametrize("harm", ["changed", "cut off", "missing", "index"])
def test_a_damaged_save_is_passed_over_for_the_one_before(
    harm: str, s3: Any, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="atelier")
    sent(prefix, tmp_path / "a", 5, 10)
    name = objects(prefix, 10)["step-000000010/optimizers.safetensors"]
    content = read(prefix, name)
    base = prefix.removeprefix(f"s3://{s3.bucket}/")
    harmed = {"changed": content[:-1] + b"?", "cut off": content[:-1], "index": b'{"files": [{"name": "../../x"}]}'}
    if harm == "missing":
        s3.client.delete_object(Bucket=s3.bucket, Key=f"{base}/{name}")
    else:
        target = f"{KEY[:16]}/saves/000000010.json" if harm == "index" else name
        s3.client.put_object(Bucket=s3.bucket, Key=f"{base}/{target}", Body=harmed[harm])
    there = fetched(prefix, tmp_path / "b")
    assert there.progress == 5 and "save 000000010 is" in caplog.text and "the one before counts" in caplog.text
    save(there, 10)
    assert there.mirror is not None and there.mirror.wait(60)
    assert fetched(prefix, tmp_path / "c").progress == 10, "made again, it must not rest on the damaged object"


def test_an_index_cannot_write_elsewhere(s3: Any, prefix: str, tmp_path: Path) -> None:
    sent(prefix, tmp_path / "a", 5)
    base, index = prefix.removeprefix(f"s3://{s3.bucket}/"), f"{KEY[:16]}/saves/000000005.json"
    for evil in ("../../evil", "/tmp/evil", "grids/../../evil", ".step-x/evil", ""):
        files = json.loads(read(prefix, index))
        files["files"][0]["name"] = evil
        s3.client.put_object(Bucket=s3.bucket, Key=f"{base}/{index}", Body=json.dumps(files))
        assert fetched(prefix, tmp_path / "b" / "states").progress == -1
        assert not list(tmp_path.rglob("evil"))


def test_what_is_newer_here_stays_and_goes_up(prefix: str, tmp_path: Path) -> None:
    sent(prefix, tmp_path / "a", 5)
    here = RunFolder(tmp_path / "b", KEY)
    save(here, 10)
    here = RunFolder(tmp_path / "b", KEY, prefix)
    here.fetch()
    assert here.progress == 10 and not here.step(5).exists()
    here.send_newest()
    assert here.mirror is not None and here.mirror.wait(60)
    assert fetched(prefix, tmp_path / "c").progress == 10


def test_other_nodes_take_the_save_of_the_first(prefix: str, tmp_path: Path) -> None:
    sent(prefix, tmp_path / "a", 5, 10)
    other = RunFolder(tmp_path / "b", KEY)
    save(other, 15)
    other = RunFolder(tmp_path / "b", KEY, prefix)
    other.fetch(exactly=5)
    assert other.progress == 5
    other.fetch(exactly=10)
    assert other.progress == 10
    other.fetch(exactly=-1)
    assert other.progress == -1


def test_a_save_that_is_sent_is_not_removed_meanwhile(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a store that is slower than the saves would never get a whole one."""
    put, waits = S3Storage.put, [True]

    def slow(self: S3Storage, name: str, content: Any) -> None:
        while waits:
            time.sleep(0.01)
        put(self, name, content)

    monkeypatch.setattr(S3Storage, "put", slow)
    here = RunFolder(tmp_path / "a", KEY, prefix)
    for step in (5, 10, 15, 20, 25):
        save(here, step)
        while step == 5 and here.mirror is not None and here.mirror._sending is None:
            time.sleep(0.01)
    assert sorted(path.name for path in here.path.glob("step-*")) == ["step-000000005", "step-000000020", "step-000000025"]
    waits.clear()
    assert here.mirror is not None and here.mirror.wait(60)
    assert {name.rpartition("/")[2] for name in names(prefix) if "/saves/" in name} == {"000000005.json", "000000025.json"}
    save(here, 30)
    assert not here.step(5).exists()


def test_a_save_made_again_while_it_is_sent_is_sent_as_it_is_now(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, began, go_on = S3Storage.put, list[str](), list[bool]()

    def slow(self: S3Storage, name: str, content: Any) -> None:
        began.append(name)
        while not go_on:
            time.sleep(0.01)
        put(self, name, content)

    monkeypatch.setattr(S3Storage, "put", slow)
    here = RunFolder(tmp_path / "a", KEY, prefix)
    save(here, 5)
    while not began:
        time.sleep(0.01)
    save(here, 5, best=5)
    go_on.append(True)
    assert here.mirror is not None and here.mirror.wait(60)
    there = fetched(prefix, tmp_path / "b")
    assert states.read(there.step(5), KEY)[1]["best"] == {"step": 5}


class Relay(socketserver.BaseRequestHandler):
    """One connection, passed on to the server that `target` names."""

    target: ClassVar[tuple[str, int]]

    def handle(self) -> None:
        with socket.create_connection(self.target) as onward:
            ways = {self.request: onward, onward: self.request}
            while True:
                for one in select.select([*ways], [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    ways[one].sendall(data)


class Relays(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


def test_a_store_that_is_away_is_said_once_and_so_is_its_return(
    s3: Any, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(s3_mirror, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(s3_mirror, "LONGEST_PAUSE", 0.1)
    server = urlsplit(s3.endpoint)
    monkeypatch.setattr(Relay, "target", (server.hostname, server.port), raising=False)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nothing listens
        address = held.getsockname()
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{address[1]}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        here = RunFolder(tmp_path / "a", KEY, prefix)
        assert here.mirror is not None
        for step in (5, 10, 15):
            save(here, step)
            assert not here.mirror.wait(0.3)
    assert caplog.text.count("training goes on") == 1 and "cannot be reached" in caplog.text
    with Relays(address, Relay) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        assert here.mirror.wait(60)
        relay.shutdown()
    assert caplog.text.count("can be used again; save 000000015 is there") == 1 and len(caplog.records) == 2
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.endpoint)
    assert fetched(prefix, tmp_path / "b").progress == 15


@pytest.fixture
def away(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing answers where the store should be."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.mark.usefixtures("away")
def test_the_end_of_a_run_waits_for_the_store_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(states, "FLUSH_SECONDS", 0.2)
    here = RunFolder(tmp_path, KEY, "s3://bucket/x")
    with here.lock():
        save(here, 5)
    assert f"lacks the newest save, it took none within 0 s; what this run has made is whole in {here.path}" in caplog.text


@pytest.mark.usefixtures("away")
def test_a_run_does_not_begin_while_the_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_mirror, "START_PAUSES", (0.1, 0.1))
    with pytest.raises(
        StorageAway, match=r"http://127.0.0.1:9 cannot be reached .* run again once that works, or without --mirror"
    ):
        RunFolder(tmp_path, KEY, "s3://bucket/x").fetch()


def test_a_store_that_cannot_be_written_is_refused_at_the_start(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path, KEY, prefix)
    assert run.mirror is not None
    run.mirror.check_writable()
    assert names(prefix) == set()
    with pytest.raises(StorageError, match="write s3://bucket/prefix"):
        RunFolder(tmp_path, KEY, "https://bucket/x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    refused = RunFolder(tmp_path, KEY, prefix).mirror
    assert refused is not None
    with pytest.raises(StorageError, match="refuses access"):
        refused.check_writable()


@pytest.mark.usefixtures("away")
def test_handing_over_ends_in_time_and_says_why_it_failed(prefix: str, tmp_path: Path) -> None:
    here = RunFolder(tmp_path, KEY, prefix)
    save(here, 5)
    assert here.mirror is not None and here.mirror._urgent.client
    said = here.hand_over(time.monotonic() + 2)
    assert said.startswith("saved on this node only (") and "cannot be reached" in said and said.endswith("would begin anew")
