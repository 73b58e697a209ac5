"""Serves a registered generator over HTTP, and follows its alias: whoever is promoted comes into use without a restart.

The next version is fetched, checked and tried aside, then takes over between two requests. When MLflow is away, or the alias
leads nowhere or to weights that are not those that were registered, the version in use stays; /ready, the page and the log
say so. Without a version it waits for one: /ready says 503 until then. An MLflow in a file that is not there, or whose files are
not beside it, is an error at once.

  GET /                                            the gallery page, and what it loads: docs/gallery.md
  GET /latent?seed=7, POST /latent                 the latent of a seed, or of several as /generate takes them
  GET /model                                       what the version in use takes and gives; ?version=3 for another one
  GET /directions                                  sliders that change one thing of an image, named by what they change
  GET /real.png?number=5, /judge?seed=7            a real image (--real), what a discriminator makes of an image (--discriminator)
  GET /versions                                    what is registered under this name, with its numbers
  GET /image.png?seed=7&class=3&truncation=0.7     one image
  POST /generate  {"count": 16, "seed": 0}         or {"rows": [{"seed": 1, "class": "7", "truncation": 0.7}, ...]}; what comes is
                                                   JSON, a contact sheet (Accept: image/png) or files (Accept: application/zip);
                                                   /generate?version=3 asks another version of this name
  POST /walk  {"stops": [3, 4], "steps": 24}       the way from seed to seed and back as an animated WebP
  POST /who                                        an image file: what its marks of origin say
  POST /detect                                     an image file: whether it looks generated (--detector), and its marks
  GET /health, /ready, /metrics                    alive, ready, and numbers for Prometheus

examples:
  python -m atelier.serving digits@champion --open             http://127.0.0.1:8080, of the MLflow in this folder, in a browser
  python -m atelier.serving models:/digits/4 --port 8081       one version, which stays
  MLFLOW_TRACKING_URI=http://mlflow:5000 python -m atelier.serving digits@champion --host 0.0.0.0

It asks nobody who they are: on a network put it behind what does. SIGTERM ends it when the requests that came are answered.
"""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
import tempfile
import webbrowser
from pathlib import Path

from atelier import command_line
from atelier.config.training import REGISTERED
from atelier.errors import AtelierError
from atelier.registry.versions import RESERVED_ALIAS, address
from atelier.serving.browser_runtime import BROWSER, SERVER
from atelier.serving.limits import Limits

log = logging.getLogger("atelier.serving")

BACKLOG = 1024
GRACE_SECONDS = 40  # for the requests that came before SIGTERM


class ServingError(AtelierError):
    """The server cannot start here."""


def main() -> None:
    """The command line."""
    args = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn waits for requests first, then raises the signal again
    with _listen(args.host, args.port) as listening, tempfile.TemporaryDirectory(prefix="atelier-serving-") as scratch:
        _serve(args, listening, Path(scratch))


def parser() -> argparse.ArgumentParser:
    """The parser; what loads PyTorch is imported after it has spoken."""
    plain = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(prog="python -m atelier.serving", description=__doc__, formatter_class=plain)
    made.add_argument("version", type=_version, metavar="VERSION", help="NAME@ALIAS or NAME/NUMBER, with or without models:/")
    made.add_argument("--host", default="127.0.0.1", help="where to listen (default: 127.0.0.1, this machine alone)")
    made.add_argument("--port", type=_port, default=8080, help="default: 8080; 0 takes a free one")
    made.add_argument("--device", default="cpu", help="device that generates: cpu, cuda, cuda:1, ... (default: cpu)")
    made.add_argument(
        "--detector", type=_version, metavar="VERSION",
        help="registered detector (components.register_detector) for POST /detect: NAME/NUMBER; that version stays in use",
    )  # fmt: skip
    made.add_argument(
        "--real", type=Path, metavar="DATA",
        help="packed set whose held-out images are shown beside generated ones, for a game: real or not",
    )  # fmt: skip
    made.add_argument(
        "--discriminator", type=Path, metavar="CHECKPOINT",
        help="checkpoint folder of a training with --real's set, whose discriminator plays that game, too",
    )  # fmt: skip
    made.add_argument(
        "--paint", choices=(SERVER, BROWSER), default=SERVER,
        help="who paints the page's pictures: server, so that the weights stay here (default), or browser: each visitor gets the "
        "weights as ONNX, and sliders wait for nobody; needs what python -m atelier.serving.browser_runtime fetches",
    )  # fmt: skip
    made.add_argument(
        "--poll", type=_positive, default=5.0, metavar="S", help="seconds between two looks at the registry (default: 5)"
    )
    made.add_argument("--open", action="store_true", help="open the page in a browser, once there is a version to show")
    limits = made.add_argument_group("limits")
    limits.add_argument(
        "--images", type=_count, default=64, metavar="N", help="images a request; more is answered 422 (default: 64)"
    )
    limits.add_argument(
        "--rate", type=_positive, default=200.0, metavar="N",
        help="images a second over all clients; beyond, 429 with the seconds to wait (default: 200)",
    )  # fmt: skip
    limits.add_argument(
        "--queue", type=_count, default=32, metavar="N",
        help="requests that run or wait; beyond, 503 (default: 32)",
    )  # fmt: skip
    limits.add_argument(
        "--body", type=_count, default=2**20, metavar="BYTES", help="length of a request; more is answered 413 (default: 1048576)"
    )
    return made


def _serve(args: argparse.Namespace, listening: socket.socket, scratch: Path) -> None:
    import torch
    import uvicorn

    from atelier.provenance.leaving import logger, marker, signer
    from atelier.registry.fetch import check_store
    from atelier.serving.app import application
    from atelier.serving.decoding import Decoders
    from atelier.serving.detection import ServedDetector
    from atelier.serving.directions import Directions
    from atelier.serving.follow import Follower
    from atelier.serving.halves import by_browser, by_server
    from atelier.serving.metrics import Metrics
    from atelier.serving.real import Judge, RealImages
    from atelier.serving.versions import Versions

    if args.discriminator and not args.real:
        raise ServingError(
            "--discriminator judges real and generated images; give --real DATA, the packed set of its training, too"
        )
    try:
        torch.zeros(1, device=args.device)
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch was built without that device
        reason = str(error).splitlines()[0]
        raise ServingError(f"--device {args.device}: cannot be used here ({reason}); give another, such as cpu") from error
    check_store(args.version)
    images = f"{signer()}, {marker()}, {logger()}"  # a key or secret that cannot be used ends it here
    metrics = Metrics()
    detector = ServedDetector.of(args.detector, scratch / "detector") if args.detector else None
    paint = by_browser if args.paint == BROWSER else by_server
    follower = Follower(args.version, args.device, args.poll, scratch / "versions", metrics, paint)
    limits = Limits(args.body, args.images, args.rate, args.queue)
    versions, directions = Versions(args.version, args.device, scratch / "other"), Directions(scratch / "directions")
    real = RealImages(args.real) if args.real else None
    judge = Judge(args.discriminator, real, args.device) if args.discriminator and real else None
    decoders = Decoders()
    decoders.start()
    app = application(follower, limits, metrics, detector, versions, directions, decoders, real, judge)
    config = uvicorn.Config(app, log_config=None, log_level="warning", timeout_graceful_shutdown=GRACE_SECONDS)
    host, port = listening.getsockname()[:2]
    page = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    log.info("%s serves %s, images %s", page, args.version, images)
    if args.open:
        follower.first(lambda: webbrowser.open(page))
    follower.start()
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        follower.stop()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ServingError(f"{host}:{port}: cannot listen there ({error.strerror}); give another --port or --host") from error


def _version(text: str) -> str:
    found = REGISTERED.fullmatch(address(text))
    if not found or (found["alias"] and RESERVED_ALIAS.fullmatch(found["alias"])):
        raise argparse.ArgumentTypeError(f"{text} names no registered generator; write NAME@champion or NAME/NUMBER")
    return address(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port; give a number from 0 to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a whole number of at least 1")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: give a number above 0")
    return value


if __name__ == "__main__":
    command_line.run(main)
