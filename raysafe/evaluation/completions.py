"""Replies that were paid for, kept by content, and what they cost: shared by all workers and processes of a storage.

One SQLite file. Each use of it is a short transaction over a connection of its own, one at a time behind a file lock, so that it
holds on a folder that several nodes share, too (SQLite's own shared mode doesn't). Of what was asked it holds a hash alone.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Self
from uuid import uuid4

from filelock import FileLock, Timeout

from raysafe.artifacts import Store

COMPLETIONS = "completions"
"""Their folder, beside those of stages in the store."""
_MANY = 500
_TABLES = """
CREATE TABLE IF NOT EXISTS completions (
    key TEXT PRIMARY KEY, account TEXT, text TEXT, finish TEXT, prompt_tokens INTEGER, reply_tokens INTEGER, cost REAL, at REAL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, account TEXT, owner TEXT, most REAL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY, spent REAL DEFAULT 0, requests INTEGER DEFAULT 0,
    prompt_tokens INTEGER DEFAULT 0, reply_tokens INTEGER DEFAULT 0, open_from REAL DEFAULT 0
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Completion:
    """A reply that is kept. `finish`: why it ends (`length` where it was cut)."""

    text: str
    finish: str


@dataclass(frozen=True)
class Account:
    """What a model of a host has cost in this storage, attempts without a reply included, and how many there were of them all."""

    spent: float = 0.0
    requests: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0


@dataclass(frozen=True)
class Bid:
    """A request that somebody wants to make: for whose account, what it may cost at most, how much that account may cost in all,
    and how long the account then makes no other (rate limits)."""

    key: str
    account: str
    most: float = 0.0
    cap: float | None = None
    pause_s: float = 0.0


@dataclass(frozen=True)
class Go:
    """The request is ours to make, from that time on."""

    start: float


@dataclass(frozen=True)
class Wait:
    """Somebody is at work on it, or on what may leave no money for it."""


@dataclass(frozen=True)
class Capped:
    """It might cost more than the account may."""

    spent: float


def completions_folder(storage: Path) -> Path:
    """Where the replies of a storage are kept."""
    return Store(storage).artifact(COMPLETIONS, "").folder


def completion_key(value: Any) -> str:
    """32 hex digits of SHA-256 over the canonical JSON of plain values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Completions:
    """The replies in a folder, and the right to ask for one that isn't there.

    Looking is free. Whoever asks, within `with`, holds a claim. It ends with its owner, also when that one is killed: then it
    counts as paid in full, as the server may have done the work. So what is spent is never told too low by what happens here.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "completions.sqlite"
        self.owner = uuid4().hex
        self._threads, self._lock = Lock(), FileLock(str(folder / ".lock"), poll_interval=0.01)
        self._alive = FileLock(str(self._life(self.owner)))

    def __enter__(self) -> Self:
        self._alive.acquire()
        with self._transaction() as db:
            self._bury(db)
        return self

    def __exit__(self, *problem: object) -> None:
        try:
            with self._transaction() as db:
                self._end(db, self.owner)
        finally:
            self._alive.release()
            self._life(self.owner).unlink(missing_ok=True)

    def known(self, keys: Sequence[str]) -> dict[str, Completion]:
        """Those of the replies that are there."""
        found = {}
        with self._transaction() as db:
            for first in range(0, len(keys), _MANY):
                part = keys[first : first + _MANY]
                marks = ",".join("?" * len(part))
                rows = db.execute(f"SELECT key, text, finish FROM completions WHERE key IN ({marks})", part)
                found.update({key: Completion(text, finish) for key, text, finish in rows})
        return found

    def claim(self, bid: Bid) -> Completion | Go | Wait | Capped:
        """The reply, if it is there by now; else the right to ask for it, or why not."""
        with self._transaction() as db:
            row = db.execute("SELECT text, finish FROM completions WHERE key = ?", [bid.key]).fetchone()
            if row:
                return Completion(*row)
            if self._taken(db, bid):
                self._bury(db)
                if self._taken(db, bid):
                    return Wait()
            spent = self.account(bid.account, db).spent
            if bid.cap is not None and spent + bid.most > bid.cap:
                return Capped(spent)
            start = max(time.time(), self._open_from(db, bid.account))
            db.execute("INSERT INTO claims VALUES (?, ?, ?, ?)", [bid.key, bid.account, self.owner, bid.most])
            db.execute("UPDATE accounts SET open_from = ? WHERE name = ?", [start + bid.pause_s, bid.account])
            return Go(start)

    def settle(self, bid: Bid, cost: float, tokens: tuple[int, int] = (0, 0), reply: Completion | None = None) -> None:
        """The end of an attempt: what it cost, and the reply if there is one. The claim is given back."""
        with self._transaction() as db:
            db.execute("DELETE FROM claims WHERE key = ? AND owner = ?", [bid.key, self.owner])
            self._charge(db, bid.account, cost, tokens)
            if reply is not None:
                row = [bid.key, bid.account, reply.text, reply.finish, *tokens, cost, time.time()]
                db.execute("INSERT OR REPLACE INTO completions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def keep(self, key: str, account: str, reply: Completion) -> None:
        """A reply that cost nothing more, unless there is one."""
        with self._transaction() as db:
            row = [key, account, reply.text, reply.finish, 0, 0, 0.0, time.time()]
            db.execute("INSERT OR IGNORE INTO completions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)

    def stay_away(self, account: str, until: float) -> None:
        """Nobody asks this account's model before that time."""
        with self._transaction() as db:
            until = max(until, self._open_from(db, account))
            db.execute("UPDATE accounts SET open_from = ? WHERE name = ?", [until, account])

    def account(self, name: str, db: sqlite3.Connection | None = None) -> Account:
        """What has been spent."""
        if db is None:
            with self._transaction() as db:
                return self.account(name, db)
        row = db.execute("SELECT spent, requests, prompt_tokens, reply_tokens FROM accounts WHERE name = ?", [name]).fetchone()
        return Account(*row) if row else Account()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._threads, self._lock, closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.executescript(_TABLES)
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise

    def _taken(self, db: sqlite3.Connection, bid: Bid) -> bool:
        """Whether somebody has the request, or requests that are under way may leave no money for it."""
        if db.execute("SELECT 1 FROM claims WHERE key = ?", [bid.key]).fetchone():
            return True
        (open_,) = db.execute("SELECT coalesce(sum(most), 0) FROM claims WHERE account = ?", [bid.account]).fetchone()
        return bid.cap is not None and open_ > 0 and self.account(bid.account, db).spent + open_ + bid.most > bid.cap

    def _bury(self, db: sqlite3.Connection) -> None:
        """End the claims of owners that are no more."""
        for (owner,) in db.execute("SELECT DISTINCT owner FROM claims WHERE owner != ?", [self.owner]).fetchall():
            life = self._life(owner)
            try:
                with FileLock(str(life), timeout=0):
                    self._end(db, owner)
            except Timeout:
                continue
            life.unlink(missing_ok=True)

    def _end(self, db: sqlite3.Connection, owner: str) -> None:
        for account, most in db.execute("SELECT account, most FROM claims WHERE owner = ?", [owner]).fetchall():
            self._charge(db, account, most)
        db.execute("DELETE FROM claims WHERE owner = ?", [owner])

    def _charge(self, db: sqlite3.Connection, account: str, cost: float, tokens: tuple[int, int] = (0, 0)) -> None:
        self._open_from(db, account)
        added = "spent = spent + ?, requests = requests + 1, prompt_tokens = prompt_tokens + ?, reply_tokens = reply_tokens + ?"
        db.execute(f"UPDATE accounts SET {added} WHERE name = ?", [cost, *tokens, account])

    def _open_from(self, db: sqlite3.Connection, account: str) -> float:
        db.execute("INSERT OR IGNORE INTO accounts (name) VALUES (?)", [account])
        (moment,) = db.execute("SELECT open_from FROM accounts WHERE name = ?", [account]).fetchone()
        return float(moment)

    def _life(self, owner: str) -> Path:
        """A file that is locked as long as its owner lives."""
        return self.path.parent / f".{owner}.alive"
