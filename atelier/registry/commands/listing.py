"""list, show and history: what is registered, what is in use, and what was ever decided."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from atelier.io.files import parse_json
from atelier.metrics.bias import FRECHET
from atelier.registry import papers
from atelier.registry.ancestry import COMPUTE, DATA_SETS, PARAMETERS_HASH, PARENT, PARENT_HASH
from atelier.registry.ledger import CHAMPION, IN_ORDER, Entry, Ledger
from atelier.registry.promotion import BY_HAND, OUTCOME, REASON, WITHDRAWN, standing
from atelier.registry.versions import (
    CARD_HASH,
    DETECTOR_AT,
    DETECTOR_HASH,
    GENERATOR_HASH,
    MEASUREMENT,
    MODEL_ID,
    address,
    measurements,
    resolve,
    uri,
)
from atelier.report.compute import spent
from atelier.report.facts import interval_text, metric_title, text
from atelier.tracking.client import check_reachable, client, explained, mask
from atelier.tracking.place import TrackingError, store_is_missing, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

    from atelier.metrics.identity import Measurement

PAPERS = {"card": papers.CARD, "bom": papers.BOM, "provenance": papers.PROVENANCE}  # what `show --paper` prints
WIDTH = 200  # of a table that goes into a file or another program
MADE_BY = {  # what `show` tells of the making, by tag
    "atelier.git_commit": "git commit",
    "atelier.git_dirty": "uncommitted changes",
    "atelier.code_hash": "training code (sha256)",
    "atelier.architecture": "architecture",
    "atelier.seed": "seed",
    "atelier.images_seen": "images seen",
    PARAMETERS_HASH: "parameters (sha256)",
    "atelier.settings_hash": "training settings (sha256)",
    "atelier.image": "image",
    "atelier.pipeline_run": "pipeline run",
    "atelier.task": "Kubeflow task",
    "atelier.pipeline_run_id": "MLflow run of the pipeline",
    "dvc.experiment": "DVC experiment",
    PARENT: "fine-tuned from",
    PARENT_HASH: "parent's weights (sha256)",
}


def show_all(args: argparse.Namespace) -> None:
    """A line for each registered generator, or for each version of one."""
    if store_is_missing():
        raise TrackingError(
            f"{mask(tracking_uri())}: nothing is registered here yet; `dvc repro` registers, or set MLFLOW_TRACKING_URI"
        )
    check_reachable()
    with explained():
        mlflow = client()
        if args.name:
            _versions(mlflow, args.name)
        else:
            _names(mlflow)


def show_one(args: argparse.Namespace) -> None:
    """Everything that is known of one version, or one of its papers."""
    version = resolve(address(args.version))
    if args.paper:
        with explained():
            print(papers.read(client(), version, PAPERS[args.paper]), end="")
        return
    table = Table(title=uri(version), title_justify="left", show_header=False, box=None)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    tags = version.tags
    table.add_row("alias", ", ".join(sorted(version.aliases)) or "none")
    for tag, name in ((OUTCOME, "gate"), (REASON, ""), (BY_HAND, "promoted by hand"), (WITHDRAWN, "rolled back")):
        if tags.get(tag):
            table.add_row(name, tags[tag])
    table.add_row("registered", _when(version.creation_timestamp))
    if DETECTOR_AT in tags:
        table.add_row("a detector of generated images", tags[DETECTOR_HASH])
        table.add_row("MLflow", f"run {version.run_id}, artifacts {tags[DETECTOR_AT]}")
        console().print(table)
        print(version.description)
        return
    table.add_row("weights (sha256)", tags.get(GENERATOR_HASH, "not registered by Atelier"))
    table.add_row("MLflow", f"run {version.run_id or 'none'}, model {tags.get(MODEL_ID, version.source or 'none')}")
    for one in parse_json(tags.get(DATA_SETS, "[]")):
        table.add_row("images", "; ".join(f"{name} {value}" for name, value in one.items() if value))
    for tag, name in MADE_BY.items():
        if tags.get(tag):
            table.add_row(name, tags[tag])
    for phrase in spent(parse_json(tags.get(COMPUTE, "[]"))):
        table.add_row("training took", phrase)
    console().print(table)
    console().print(_numbers(version))
    card = "its description in MLflow, and an artifact of its run" if CARD_HASH in tags else "none"
    with explained():
        kept = papers.summary(client(), version)
    print(f"model card: {card}\npapers: {kept}\nfamily: python -m atelier.registry lineage {version.name}/{version.version}")


def show_history(args: argparse.Namespace) -> None:
    """Every decision about a generator, oldest first, and whether somebody has moved the champion otherwise since."""
    entries, champion = history(args.name)
    if args.json:
        print(json.dumps([vars(entry) for entry in entries], indent=2, ensure_ascii=False))
        return
    table = Table(title=f"Decisions about {args.name}", title_justify="left")
    for name in ("turn", "when (UTC)", "what", "version", "aliases set", "why", "by"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        what = entry.action if entry.end else f"{entry.action} (not carried out yet)"
        table.add_row(
            str(entry.number), entry.at[:19].replace("T", " "), what, str(entry.version), _moves(entry), entry.reason, entry.by
        )
    console().print(table)
    recorded = next((entry.aliases[CHAMPION] for entry in reversed(entries) if CHAMPION in entry.aliases), None)
    if champion != recorded:
        now = f"version {champion}" if champion else "none"
        print(f"The champion is {now}: somebody has moved that alias outside of Atelier. It is respected.")


def history(name: str) -> tuple[list[Entry], int | None]:
    """All decisions about a generator, and its champion now. Raises TrackingError where nothing was ever decided."""
    check_reachable()
    with explained():
        ledger = Ledger.existing(client(), name) if not store_is_missing() else None
        if ledger is None:
            raise TrackingError(f"{name}: nothing was decided about a generator of that name; `python -m atelier.registry list`")
        aliases = ledger.client.get_registered_model(name).aliases
        return ledger.entries(), int(aliases[CHAMPION]) if CHAMPION in aliases else None


def console() -> Console:
    """The terminal, or where there is none, text in wide lines."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False)


def number(one: Measurement) -> str:
    """A value with its 95 % interval."""
    return f"{text(one)} {interval_text(one)}".strip()


def distance(version: ModelVersion) -> Measurement | None:
    """The Fréchet distance of a version, None where its tags tell none, as those of something else do not."""
    try:
        found = measurements(version)
    except TrackingError:
        return None
    return next((one for one in found.values() if one.kind == FRECHET), None)


def _distance_text(version: ModelVersion) -> str:
    found = distance(version)
    return number(found) if found else "not known"


def _names(mlflow: MlflowClient) -> None:
    table = Table(title=f"Registered at {mask(tracking_uri())}", title_justify="left")
    for head in ("generator", "champion", "distance of the champion", "challenger", "previous", "versions"):
        table.add_column(head, overflow="fold")
    for model in _all_models(mlflow):
        aliases = {alias: str(number) for alias, number in model.aliases.items()}
        champion = aliases.get(CHAMPION)
        shown = _distance_text(mlflow.get_model_version(model.name, champion)) if champion else ""
        newest = max(
            (int(one.version) for one in mlflow.search_model_versions(f"name = '{model.name}'", max_results=1)), default=0
        )
        table.add_row(
            model.name,
            champion or "none",
            shown,
            aliases.get("challenger", ""),
            aliases.get("previous", ""),
            f"up to {newest}",
        )
    console().print(table)
    print("python -m atelier.registry list NAME shows its versions, show NAME/VERSION all of one")


def _all_models(mlflow: MlflowClient) -> list[RegisteredModel]:
    found: list[RegisteredModel] = []
    token = None
    while True:
        page = mlflow.search_registered_models(max_results=100, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _versions(mlflow: MlflowClient, name: str) -> None:
    found = sorted(mlflow.search_model_versions(f"name = '{name}'", max_results=1000), key=lambda one: int(one.version))
    if not found:
        raise TrackingError(f"{name}: no generator of that name is registered; `python -m atelier.registry list` shows what is")
    aliases: dict[str, list[str]] = {}
    for alias, number in mlflow.get_registered_model(name).aliases.items():
        aliases.setdefault(str(number), []).append(alias)
    table = Table(title=f"Versions of {name}", title_justify="left")
    for head in ("version", "alias", "gate", "distance", "registered", "weights", "seed", "git commit", "fine-tuned from"):
        table.add_column(head, overflow="fold")
    for one in found:
        tags = one.tags
        dirty = "+changes" if tags.get("atelier.git_dirty") == "true" else ""
        table.add_row(
            str(one.version),
            ", ".join(sorted(aliases.get(str(one.version), ()), key=_rank)),
            standing(one),
            _distance_text(one),
            _when(one.creation_timestamp),
            tags.get(GENERATOR_HASH, tags.get(DETECTOR_HASH, "not ours"))[:12],
            tags.get("atelier.seed", ""),
            f"{tags.get('atelier.git_commit', '')[:9]}{dirty}",
            tags.get(PARENT, "").removeprefix("models:/"),
        )
    console().print(table)


def _rank(alias: str) -> tuple[int, str]:
    return (IN_ORDER.index(alias) if alias in IN_ORDER else len(IN_ORDER)), alias


def _numbers(version: ModelVersion) -> Table:
    table = Table(title="Numbers, with their 95 % intervals", title_justify="left")
    for head in ("metric", "value", "better", "with which eyes", "images", "against"):
        table.add_column(head, overflow="fold")
    if not any(tag.startswith(MEASUREMENT) for tag in version.tags):
        return table
    for one in measurements(version).values():
        identity = one.identity
        table.add_row(
            metric_title(one), number(one), "higher" if one.higher_is_better else "lower",
            f"{identity.extractor}, weights {identity.weights[:12]}, {identity.resize}",
            f"{identity.samples}, seed {identity.seed}", f"{identity.reference_count} of {identity.reference[:12]}",
        )  # fmt: skip
    return table


def _moves(entry: Entry) -> str:
    return ", ".join(f"{alias} → {'nobody' if number is None else number}" for alias, number in entry.aliases.items())


def _when(milliseconds: int | None) -> str:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
