"""`raysafe ui`: MLflow's pages on a sweep's store, on loopback."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from raysafe.commands.base import Command


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--storage", type=Path, metavar="DIR")
    parser.add_argument("--tracking-uri", metavar="URI")


def run(arguments: Namespace) -> int:
    from raysafe.sweep.places import default_storage
    from raysafe.sweep.signals import started
    from raysafe.tracking.mlflow import store_uri
    from raysafe.tracking.ui import serve

    storage = (arguments.storage or default_storage()).absolute()
    with started(lambda: None):  # the server is a process of its own, which must be ended
        return serve(arguments.tracking_uri or store_uri(storage), arguments.port)


COMMAND = Command("MLflow's pages on a sweep's store, on loopback", arguments, run)
