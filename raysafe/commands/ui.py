"""`raysafe ui`: MLflow's pages on a sweep's store, on loopback, opened on the comparison of its trials."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from raysafe.commands.base import Command

MOST = 10
"""Sweeps whose links are printed."""


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("sweep", metavar="SWEEP", nargs="?", help="a sweep's name; the newest ones if left out")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--storage", type=Path, metavar="DIR")
    parser.add_argument("--tracking-uri", metavar="URI")
    parser.add_argument("--no-open", action="store_true", help="print the link and open no browser")


def run(arguments: Namespace) -> int:
    from raysafe.sweep.places import default_storage
    from raysafe.sweep.signals import started
    from raysafe.tracking.links import server_of
    from raysafe.tracking.stores import check_uri, store_uri
    from raysafe.tracking.ui import serve

    uri = arguments.tracking_uri or store_uri((arguments.storage or default_storage()).absolute())
    check_uri(uri)
    server = server_of(uri)
    if server is not None:
        show(uri, server, arguments)
        return 0
    with started(lambda: None):  # the server is a process of its own, which must be ended
        return serve(uri, arguments.port, lambda address: show(uri, address, arguments))


def show(uri: str, server: str, arguments: Namespace) -> None:
    """Print the links, and open the first of them where somebody is looking. Raises InputError if there is no such sweep."""
    from raysafe.errors import InputError
    from raysafe.tracking.links import links

    known = links(uri, server)
    found = [(name, link) for name, link in known if arguments.sweep in (None, name)][:MOST]
    if arguments.sweep and not found:
        names = ", ".join(name for name, _ in known[:MOST]) or "none"
        raise InputError(f"no sweep {arguments.sweep!r} is on record here (known: {names}).")
    lines = [f"{name}\n  {link}" for name, link in found] or [f"No sweep is on record yet: {server}"]
    arguments.voice.end({"server": server, "sweeps": [{"sweep": name, "link": link} for name, link in found]}, *lines)
    if found and not (arguments.no_open or arguments.voice.json) and somebody_looks():
        open_browser(found[0][1])


def somebody_looks() -> bool:
    """Whether there is a terminal, and a screen for a browser's window."""
    import os
    import sys

    screen = sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    return sys.stdout.isatty() and screen


def open_browser(link: str) -> None:
    """Ask the system's browser to open a link."""
    import webbrowser

    webbrowser.open(link)


COMMAND = Command("MLflow's pages on a sweep's store, opened on the comparison of its trials", arguments, run)
