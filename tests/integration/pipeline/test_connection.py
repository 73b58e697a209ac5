"""The connection to a cluster: what goes wrong is one sentence with the remedy, and a secret is shown nowhere."""

from __future__ import annotations

import contextlib
import datetime
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pipelines.client import connection
from tests.support.kfp_contract import Violation, check
from tests.support.kfp_fixtures import PIPELINE, STATES, TOKEN, Run, happens, kfp_server, run_verb, started_run
from tests.support.kfp_server import Answer, KfpServer, serving

__all__ = ["kfp_server", "run_verb", "started_run"]

HTML = Answer(200, "<!doctype html><title>Sign in</title>", "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(401, "Jwt is missing", "text/plain"), "asks for a login (401: Jwt is missing): write a token into a file"),
        (Answer(403, '{"message": "RBAC: access denied"}'), "not allowed in namespace 'kubeflow' (403: RBAC: access denied)"),
        (Answer(404, "404 page not found", "text/plain"), "no API of Kubeflow Pipelines is there (404); give as --host"),
        (Answer(404, "<html>nginx</html>", "text/html"), "no API of Kubeflow Pipelines is there (404)"),
        (Answer(409, '{"error_message": "taken"}'), "exists already (409: taken)"),
        (Answer(400, '{"message": "outer: inner", "details": [{"message": "Invalid input"}]}'), "(400: Invalid input)"),
        (Answer(413, "<html>too large</html>", "text/html"), "refuses the request (413)"),
        (Answer(500, "panic: nil map\n" + "x" * 999, "text/plain"), "the server failed (500: panic: nil map"),
        (Answer(500, "https://me:hunter2@mysql/ is away", "text/plain"), "https://***@mysql/ is away"),
        (HTML, "answers with a web page, not as the API would"),
        (Answer(302, headers={"Location": "/dex/auth?state=s3cret"}), "answers with a web page, to /dex/auth, not as the API"),
        (Answer(307, headers={"Location": "https://kubeflow.example/"}), "a web page, to https://kubeflow.example/, not as"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else "",
)
def test_what_a_server_refuses_is_one_sentence(answer: Answer, said: str, kfp: KfpServer, run: Run) -> None:
    kfp.instead = [answer]
    done = run("status", "1234")
    (line,) = done.err.splitlines()
    assert done.code == 1 and line.startswith(f"error: {kfp.host}") and said in line
    assert "s3cret" not in line and "hunter2" not in line and len(line) < 800


def test_a_run_that_does_not_exist(kfp: KfpServer, run: Run) -> None:
    for verb in ("status", "logs", "wait", "terminate"):
        done = run(verb, "1234")
        assert done.code == 1 and "not found (404: Run 1234 not found)" in done.err


def test_a_namespace_of_others(kfp: KfpServer, run: Run) -> None:
    kfp.namespace = "alice"
    done = run("submit", *PIPELINE, "--namespace", "bob")
    assert done.code == 1 and "not allowed in namespace 'bob'" in done.err and "--namespace" in done.err
    assert run("submit", *PIPELINE, "--namespace", "alice").code == 0


def test_a_busy_server_is_asked_again_but_nothing_is_created_twice(kfp: KfpServer, run: Run) -> None:
    kfp.instead = [Answer(503, "busy", "text/plain"), Answer(502, "busy", "text/plain")]
    assert run("submit", *PIPELINE).code == 0  # the look for the experiment was repeated
    kfp.requests.clear()
    kfp.busy_for = "POST"
    done = run("submit", *PIPELINE)
    assert done.code == 1 and "does not answer now (503: busy)" in done.err
    assert kfp.requests == ["GET /apis/v2beta1/experiments", "POST /apis/v2beta1/runs"]


def test_nobody_listens(run: Run) -> None:
    done = run("status", "--host", "http://localhost:9")
    (line,) = done.err.splitlines()
    assert done.code == 1 and line.startswith("error: http://localhost:9: does not answer (NewConnectionError")
    assert "check --host" in line


def test_a_server_that_never_answers(kfp: KfpServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "READ_SECONDS", 0.2)
    kfp.silent.set()
    done = run("status")
    assert done.code == 1 and "does not answer (ReadTimeoutError" in done.err


def test_a_login_by_token(kfp: KfpServer, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kfp.token = TOKEN
    assert "asks for a login (401" in run("submit", *PIPELINE).err
    monkeypatch.setenv("KFP_TOKEN", f" {TOKEN}\n")
    assert run("submit", *PIPELINE).code == 0
    file = tmp_path / "token"
    file.write_text("another-token-of-mine\n")
    done = run("submit", *PIPELINE, "--token-file", str(file))
    assert done.code == 1 and "refuses the login (401" in done.err
    assert "another-token-of-mine" not in done.err and "***" in done.err  # the server repeats it
    kfp.instead = [Answer(401, f"{'x' * 290} another-token-of-mine is of no use", "text/plain")]
    assert "another-" not in run("status", "--token-file", str(file)).err
    for bad, said in (("two\nlines", "one line"), ("", "one line"), ("tök", "one line"), (None, "cannot be read")):
        file.unlink(missing_ok=True)
        if bad is not None:
            file.write_text(bad, encoding="utf-8")
        done = run("status", "--token-file", str(file))
        assert done.code == 1 and said in done.err and (not bad or bad not in done.err)


def test_a_token_that_is_renewed_is_read_anew(kfp: KfpServer, run: Run, started: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    kfp.token = TOKEN

    def renewed(_: Any) -> None:
        kfp.token = f"{TOKEN}2"
        file.write_text(kfp.token)

    kfp.on_get_run = [renewed, happens(started, "SUCCEEDED", STATES)]
    started.state = "RUNNING"
    assert run("wait", started.run_id, "--token-file", str(file)).code == 0


def test_a_login_by_cookie(kfp: KfpServer, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kfp.cookie = "authservice_session=MTY5fE5=="
    away = run("submit", *PIPELINE)
    assert (
        away.code == 1 and "answers with a web page, to https://login.example/dex/auth" in away.err and "KFP_SESSION" in away.err
    )
    monkeypatch.setenv("KFP_SESSION", kfp.cookie)
    assert run("submit", *PIPELINE).code == 0
    (tmp_path / "cookie").write_text("MTY5fE5==")
    done = run("status", "--session-file", str(tmp_path / "cookie"))
    assert done.code == 1 and "write NAME=VALUE" in done.err and "MTY5" not in done.err


def test_no_option_takes_a_secret(run: Run) -> None:
    for option in ("--token", "--session"):
        assert run("status", option, "x=y").code in (1, 2)  # taken for the file's option: no such file
        assert f"{option} " not in run("submit", "--help").out
    done = run("status", "--host", "https://me:hunter2@kubeflow.example")
    assert done.code == 1 and "holds a login" in done.err and "hunter2" not in done.err


def test_tls(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = tmp_path / "localhost.pem"
    certificate.write_bytes(self_signed())
    with serving(str(certificate)) as server:
        distrusted = run("submit", *PIPELINE, "--host", server.host)
        assert distrusted.code == 1 and "no secure connection (SSLError" in distrusted.err and "--ca-file" in distrusted.err
        assert run("submit", *PIPELINE, "--host", server.host, "--ca-file", str(certificate)).code == 0
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert run("submit", *PIPELINE, "--host", server.host).code == 0
        missing = run("status", "--host", server.host, "--ca-file", "nowhere.pem")
        assert missing.code == 1 and "/nowhere.pem: no such file; name one with the certificates" in missing.err
    assert len(server.runs) == 2 and server.violations == []


def self_signed() -> bytes:
    """A certificate for localhost and its key, PEM."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({"display_nam": "x"}, "V2beta1Run"),
        ({"display_name": "x"}, "V2beta1Run"),
        ({"display_name": 1, "pipeline_spec": {}}, "V2beta1Run"),
        ({"display_name": "x", "pipeline_spec": {}, "state": "DONE"}, "V2beta1Run"),
        ({"display_name": "x", "pipeline_spec": {}, "created_at": "2026-11-24T08:00:00"}, "V2beta1Run"),
        ({"display_name": "x", "pipeline_spec": {}, "runtime_config": {"parameter": {}}}, "V2beta1Run"),
        ({"interval_second": 60}, "V2beta1PeriodicSchedule"),
    ],
)
def test_the_server_of_these_tests_sees_what_is_not_of_the_api(value: dict[str, Any], kind: str) -> None:
    with pytest.raises(Violation):
        check(value, kind, "body")


def test_the_server_of_these_tests_notes_what_is_not_of_the_api() -> None:
    with serving() as server:
        for method, path, body in (
            ("GET", "/apis/v2beta1/runs?experiment=1", None),
            ("GET", "/apis/v1beta1/runs", None),
            ("POST", "/apis/v2beta1/experiments", b'{"display_name": "x", "names": "y"}'),
            ("POST", "/apis/v2beta1/runs/1:terminate", b"{}"),
        ):
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(urllib.request.Request(server.host + path, body, method=method))
    assert len(server.violations) == 4, server.violations
