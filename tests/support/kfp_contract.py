"""The API of Kubeflow Pipelines as kfp-server-api, generated from its OpenAPI description, has it: what a request may hold."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import kfp_server_api as api
from dateutil.parser import isoparse

PLAIN = {"str": str, "int": int, "bool": bool, "object": dict}
# The models require nothing. These the server's code refuses to be without (backend/src/apiserver/server of KFP 2.17).
REQUIRED = {
    "V2beta1Experiment": {"display_name"},
    "V2beta1Pipeline": {"display_name"},
    "V2beta1Run": {"display_name", "pipeline_spec"},
    "V2beta1RecurringRun": {"display_name", "pipeline_spec", "trigger", "max_concurrency", "mode"},
    "V2beta1CronSchedule": {"cron"},
    "V2beta1PeriodicSchedule": {"interval_second"},
    "V2beta1Predicate": {"operation", "key"},
}


class Violation(Exception):
    """A request that is not of the API."""


@dataclass(frozen=True)
class Operation:
    """One request of the API. `types` are of its parameters; `query` and `files` name those that travel there."""

    name: str
    method: str
    path: str
    answer: str
    body: str | None
    query: tuple[str, ...]
    files: tuple[str, ...]
    types: dict[str, str]

    def matches(self, method: str, path: str) -> dict[str, str] | None:
        """The parameters in a path of this operation; None when it is of another."""
        pattern = re.sub(r"\\{([\w.]+)\\}", lambda found: f"(?P<{found[1].replace('.', '_')}>[^/:]+)", re.escape(self.path))
        found = re.fullmatch(pattern, path) if method == self.method else None
        return found.groupdict() if found else None


def operations() -> list[Operation]:
    """Every operation, read from the code of the generated client; fixed paths before those with parameters."""
    found = []
    for service in vars(api).values():
        if not (inspect.isclass(service) and service.__name__.endswith("ServiceApi")):
            continue
        for name, function in inspect.getmembers(service, inspect.isfunction):
            if not name.endswith("_with_http_info"):
                continue
            source = inspect.getsource(function)
            path, method = re.findall(r"call_api\(\s*'([^']+)', '([A-Z]+)'", source)[0]
            answer = re.findall(r"response_type='([^']+)'", source)[0]
            body = re.findall(r"body_params = local_var_params\['(\w+)'\]", source)
            query = re.findall(r"query_params\.append\(\('([\w.]+)'", source)
            files = re.findall(r"local_var_files\['(\w+)'\]", source)
            types = dict(re.findall(r":type (\w+): (\S+)", source))
            name = name.removesuffix("_with_http_info")
            found.append(Operation(name, method, path, answer, body[0] if body else None, tuple(query), tuple(files), types))
    return sorted(found, key=lambda operation: operation.path.count("{"))


def check(value: Any, kind: str, where: str) -> None:
    """Raises Violation when a JSON value is not of a kind of the API: "str", "list[V2beta1Run]", "V2beta1Run", ..."""
    if kind.startswith("list["):
        _require(isinstance(value, list), where, kind, value)
        for number, item in enumerate(value):
            check(item, kind[5:-1], f"{where}[{number}]")
    elif kind.startswith("dict("):
        _require(isinstance(value, dict), where, kind, value)
        inner = kind[5:-1].split(", ")[1]
        for key, item in value.items():
            if inner != "object":  # which is any JSON
                check(item, inner, f"{where}.{key}")
    elif kind == "datetime":
        _require(isinstance(value, str), where, kind, value)
        _require(isoparse(value).tzinfo is not None, where, "a time with its zone (RFC 3339)", value)
    elif kind in PLAIN:
        _require(isinstance(value, PLAIN[kind]) and not (kind == "int" and isinstance(value, bool)), where, kind, value)
    else:
        _check_model(value, kind, where)


def _check_model(value: Any, kind: str, where: str) -> None:
    model = getattr(api, kind)
    if hasattr(model, "allowable_values"):
        _require(value in model.allowable_values, where, f"one of {model.allowable_values}", value)
        return
    _require(isinstance(value, dict), where, kind, value)
    kinds = {model.attribute_map[name]: inner for name, inner in model.openapi_types.items()}
    unknown, missing = set(value) - set(kinds), REQUIRED.get(kind, set()) - set(value)
    if unknown or missing:
        raise Violation(f"{where}: {kind} with unknown {sorted(unknown)}, without {sorted(missing)}")
    for key, item in value.items():
        check(item, kinds[key], f"{where}.{key}")


def check_query(operation: Operation, query: dict[str, list[str]]) -> dict[str, str]:
    """The values of a query. Raises Violation for what the operation does not take."""
    unknown = set(query) - set(operation.query)
    if unknown:
        raise Violation(f"{operation.name}: query with unknown {sorted(unknown)}; it takes {operation.query}")
    values = {name: single for name, (single,) in query.items()}
    for name, value in values.items():
        _require(operation.types[name] != "int" or value.isdigit(), f"{operation.name}?{name}", "int", value)
    return values


def equal_to(encoded: str) -> str | None:
    """The display name that a filter asks for; None for an empty one. The server unquotes it once more than HTTP does."""
    if not encoded:
        return None
    value = json.loads(unquote_plus(encoded))
    check(value, "V2beta1Filter", "filter")
    (predicate,) = value["predicates"]
    _require((predicate["operation"], predicate["key"]) == ("EQUALS", "display_name"), "filter", "what this server knows", value)
    return predicate["string_value"]


def one_of(encoded: str, key: str) -> list[str]:
    """The values of `key` that a filter asks for; none for an empty one."""
    if not encoded:
        return []
    value = json.loads(unquote_plus(encoded))
    check(value, "V2beta1Filter", "filter")
    (predicate,) = value["predicates"]
    _require((predicate["operation"], predicate["key"]) == ("IN", key), "filter", "what this server knows", value)
    values: list[str] = predicate["string_values"]["values"]
    return values


def model(value: dict[str, Any], kind: str) -> Any:
    """The model of a JSON value that was checked; nothing is lost on the way there and back."""
    client = api.ApiClient()
    answer = type("Answer", (), {"data": json.dumps(value)})
    result = client.deserialize(answer, kind)
    _require(_comparable(client.sanitize_for_serialization(result)) == _comparable(value), kind, "the same there and back", value)
    return result


def _comparable(value: Any) -> Any:
    """Times in one spelling."""
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        return isoparse(value)
    return value


def _require(true: bool, where: str, kind: str, value: Any) -> None:
    if not true:
        raise Violation(f"{where}: not {kind}: {str(value)[:200]!r}")
