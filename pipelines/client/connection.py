"""A connection to the API server of Kubeflow Pipelines: login, timeouts, retries, and its errors as sentences.

Requests and answers are the models that KFP generates from its API (kfp_server_api). kfp.Client, which wraps the same
models, is not used: it waits for an answer without end, takes the page of a login for an empty answer, and logs a traceback
for each of its retries.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kfp_server_api
import urllib3

from atelier.io.files import parse_json
from atelier.tracking.client import mask
from pipelines.cluster import PipelineError

CONNECT_SECONDS, READ_SECONDS = 10, 30
RETRIES, BACKOFF_SECONDS = 2, 0.5
BUSY = (502, 503, 504)
NO_API = ("", ": Not Found", ": 404 page not found")
COOKIE = re.compile(r"^[\w.-]+=[^=].*$")
LOGIN = (
    "write a token into a file and name it with --token-file, or set KFP_TOKEN; where people log in with a browser, its cookie "
    "as NAME=VALUE (authservice_session=..., oauth2_proxy_kubeflow=...) with --session-file or KFP_SESSION"
)


class ClusterError(PipelineError):
    """The cluster did not do what it was asked for."""


class Unanswered(ClusterError):
    """Nobody answered, or only that the server is busy: the same request may succeed a little later."""


class Conflict(ClusterError):
    """What was to be created exists."""


class Absent(ClusterError):
    """What was asked for does not exist."""


@dataclass(frozen=True)
class Server:
    """Where Kubeflow Pipelines is, and who asks.

    `host` is its address as in a browser, `namespace` that of the user's profile (Kubeflow without users ignores it).
    `token` and `session` give a bearer token and a cookie (NAME=VALUE); they are read before each request, since the tokens
    that Kubernetes puts into files are renewed. `ca_file` holds the certificates to trust in place of the usual ones.
    """

    host: str
    namespace: str = "kubeflow"
    token: Callable[[], str] | None = field(default=None, repr=False)
    session: Callable[[], str] | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.host)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClusterError(f"--host {mask(self.host)!r}: write an address, such as http://localhost:8080")
        if parts.username or parts.password:
            raise ClusterError(f"--host {mask(self.host)}: holds a login, which would show up in logs; {LOGIN}")
        if self.ca_file and not self.ca_file.is_file():
            raise ClusterError(f"--ca-file {self.ca_file}: no such file; name one with the certificates (PEM) to trust")
        object.__setattr__(self, "host", self.host.split("#")[0].rstrip("/"))

    def page(self, path: str) -> str:
        """Address of a page of the UI."""
        return f"{self.host}/#/{path}"


def secret(option: str, file: Path | None, variable: str) -> Callable[[], str] | None:
    """What gives the secret in a file, or else in a variable of the environment; None without either."""
    if file is None and not os.environ.get(variable):
        return None

    def read() -> str:
        source = f"{option} {file}" if file else variable
        try:
            text = (file.read_text(encoding="utf-8") if file else os.environ[variable]).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ClusterError(f"{source}: cannot be read ({type(error).__name__}); see to the file and its rights") from None
        if not text or not text.isascii() or not text.isprintable():  # such a header would be refused with its text shown
            raise ClusterError(f"{source}: must hold one line of plain characters and nothing else")
        return text

    return read


class Api(kfp_server_api.ApiClient):
    """KFP's generated client of a server, whose requests end, try again quietly, and fail with a ClusterError."""

    def __init__(self, server: Server) -> None:
        configuration = kfp_server_api.Configuration(host=server.host)
        configuration.ssl_ca_cert = str(server.ca_file) if server.ca_file else None
        configuration.retries = urllib3.Retry(
            total=RETRIES, read=1, redirect=0, backoff_factor=BACKOFF_SECONDS, status_forcelist=BUSY,
            raise_on_status=False, raise_on_redirect=False,
        )  # fmt: skip
        super().__init__(configuration)
        self.server = server
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it reports each of its retries

    def request(
        self,
        method: str,
        url: str,
        query_params: Any = None,
        headers: dict[str, str] | None = None,
        post_params: Any = None,
        body: Any = None,
        _preload_content: bool = True,
        _request_timeout: Any = None,
    ) -> Any:
        """Sends one request and returns KFP's RESTResponse. Raises ClusterError."""
        login = self._login()
        timeout = _request_timeout or (CONNECT_SECONDS, READ_SECONDS)
        try:
            answer = super().request(
                method, url, query_params, {**(headers or {}), **login}, post_params, body, _preload_content, timeout
            )
        except kfp_server_api.ApiException as error:
            raise self._refused(error, login) from None
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None
        if "text/html" in (answer.getheader("Content-Type") or ""):
            raise self._web_page()
        return answer

    def _login(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        if self.server.token:
            headers["authorization"] = f"Bearer {self.server.token()}"
        if self.server.session:
            headers["Cookie"] = self.server.session()
            if not COOKIE.match(headers["Cookie"]):
                raise ClusterError("the cookie of --session-file or KFP_SESSION lacks its name; write NAME=VALUE")
        return headers

    def _refused(self, error: kfp_server_api.ApiException, login: dict[str, str]) -> ClusterError:
        host, status = self.server.host, error.status
        if 300 <= status < 400:
            return self._web_page((error.headers or {}).get("Location"))
        said = _said(error, [re.split("[ =]", value, maxsplit=1)[1] for value in login.values()])
        if status == 401:
            remedy = "it has expired, or is for another cluster" if login else LOGIN
            return ClusterError(f"{host} {'refuses the login' if login else 'asks for a login'} (401{said}): {remedy}")
        if status == 403:
            return ClusterError(
                f"{host}: not allowed in namespace {self.server.namespace!r} (403{said}); give the namespace of your profile "
                "with --namespace, or have its owner add you as a contributor"
            )
        if status == 404 and said in NO_API:
            return ClusterError(f"{host}: no API of Kubeflow Pipelines is there (404); {_where()}")
        if status == 404:
            return Absent(f"{host}: not found (404{said}); `python -m pipelines status` and `schedule list` show what there is")
        if status == 409:
            return Conflict(f"{host}: exists already (409{said}); give another --name")
        if status in BUSY:
            return Unanswered(f"{host}: does not answer now ({status}{said}); try again when it is up")
        if status >= 500:
            return ClusterError(
                f"{host}: the server failed ({status}{said}); its log says why: kubectl logs -n kubeflow deploy/ml-pipeline"
            )
        return ClusterError(f"{host}: refuses the request ({status}{said})")

    def _unreachable(self, error: urllib3.exceptions.HTTPError) -> ClusterError:
        host, cause = self.server.host, getattr(error, "reason", None) or error
        reason = mask(" ".join(f"{type(cause).__name__}: {cause}".split()))[:200]
        if isinstance(cause, urllib3.exceptions.SSLError):
            return ClusterError(
                f"{host}: no secure connection ({reason}); for a certificate of your own authority name the file of that "
                "authority's certificate with --ca-file or SSL_CERT_FILE"
            )
        return Unanswered(
            f"{host}: does not answer ({reason}); check --host, and that `kubectl port-forward` still runs where you use it"
        )

    def _web_page(self, location: str | None = None) -> ClusterError:
        where = f", to {mask(location).partition('?')[0]}" if location else ""
        return ClusterError(
            f"{self.server.host}: answers with a web page{where}, not as the API would: it is the page of a login, or not the "
            f"address of the API. For a login: {LOGIN}. For the address: {_where()}"
        )


def _where() -> str:
    return (
        "give as --host what the browser shows before /#/, such as https://kubeflow.example/pipeline, or of a port-forward to "
        "svc/ml-pipeline-ui http://localhost:8080"
    )


def _said(error: kfp_server_api.ApiException, secrets: list[str]) -> str:
    """What the server gave as the reason, as ": text" without `secrets`; nothing for a web page. The API has three forms."""
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else (error.body or "")
    if body.lstrip().startswith("<"):  # the type does not tell: the server of the UI calls its one-line reasons HTML too
        return ""
    try:
        answer = parse_json(body)
    except ValueError:
        answer = {"message": body}
    if not isinstance(answer, dict):
        answer = {}
    details = [one.get("message") for one in answer.get("details") or () if isinstance(one, dict)]
    text = next((text for text in [*details, answer.get("message"), answer.get("error_message")] if text), "")
    for secret in secrets:
        text = str(text).replace(secret, "***")
    text = mask(" ".join(str(text).split()))
    return f": {text if len(text) <= 300 else text[:299] + '…'}" if text else ""
