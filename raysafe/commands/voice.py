"""How a command speaks: its result on stdout, all else on stderr; with `--json` one document on stdout, with `-q` one line."""

import json
import logging
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console

from raysafe.artifacts import plain


def voice_arguments(parser: ArgumentParser) -> None:
    """What every command takes."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-q", "--quiet", action="store_true", help="only errors, and one last line")
    how.add_argument("-v", "--verbose", action="store_true", help="a line for every change, and what libraries log")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, everything else on stderr")
    parser.add_argument("--traceback", action="store_true", help="show Python's traceback of an error")


@dataclass(frozen=True)
class Voice:
    """`out`: results as people read them; `err`: what is said on the way. Both say nothing if told to be quiet."""

    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    json: bool = False
    quiet: bool = False
    verbose: bool = False

    @classmethod
    def of(cls, arguments: Namespace) -> "Voice":
        """As the command line asks for it."""
        return cls(sys.stdout, arguments.json, arguments.quiet, arguments.verbose)

    @property
    def out(self) -> Console:
        """Where results go: stdout, or stderr if that is for a document."""
        return Console(stderr=self.json, quiet=self.quiet)

    @property
    def err(self) -> Console:
        """Where the way goes."""
        return Console(stderr=True, quiet=self.quiet)

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Inside, nothing but the document reaches stdout if one was asked for, whoever prints."""
        if self.verbose:
            logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
        if not self.json:
            yield
            return
        with redirect_stdout(sys.stderr):
            yield

    def end(self, document: Mapping[str, Any], *lines: str) -> None:
        """The last word: the document for programs, the lines for people, the first of them if it is to be quiet."""
        if self.json:
            print(json.dumps(finite(plain(document)), indent=1), file=self.stdout, flush=True)
            return
        for line in lines[:1] if self.quiet else lines:
            Console(file=self.stdout).print(line, markup=False, highlight=False, soft_wrap=True)
            self.stdout.flush()


def printable(text: str) -> str:
    """A text from elsewhere without what would steer a terminal."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "\N{REPLACEMENT CHARACTER}" for sign in text)


def finite(value: Any) -> Any:
    """JSON knows no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    if hasattr(value, "item"):  # numpy's numbers
        value = value.item()
    return None if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))) else value
