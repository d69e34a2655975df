"""Every error that raysafe raises on purpose.

RaysafeError                  one paragraph for the user, with an exit code
├── InputError         (2)    what the user gave is wrong; nothing has started
│   ├── ConfigError           a key of the configuration
│   └── DataError             a file, or a line of one
├── StageError         (1)    a stage of a trial failed while it ran
│   └── NotFiniteError        its loss or its parameters became infinite or NaN
└── StageStopped       (0)    a stage was ended on request (the scheduler stopped its trial)
    └── GuardStopped          a guard of the trial stopped it
"""

from typing import Any


class RaysafeError(Exception):
    """Base of all errors below. `exit_code` is what the command line ends with."""

    exit_code = 1


class InputError(RaysafeError):
    """What the user gave is wrong; nothing has started."""

    exit_code = 2


class ConfigError(InputError):
    """One or more keys of the configuration are wrong."""


class DataError(InputError):
    """A data file or model folder is missing, broken, or does not belong to what it is used with."""


class StageError(RaysafeError):
    """A stage failed while it ran; other trials go on."""


class NotFiniteError(StageError):
    """A loss or a parameter became infinite or NaN; nothing was trained on it."""


class StageStopped(RaysafeError):
    """A stage ended early because its trial was stopped; no failure."""

    exit_code = 0


class GuardStopped(StageStopped):
    """A trial ended early because a figure of it is beyond a guard whose order is to stop it; the message names them."""


def require(condition: bool, rule: str, got: Any) -> None:
    """Raise `ValueError` in the house's form, "`0 < percent <= 100` must hold, but got 120", unless `condition`."""
    if not condition:
        raise ValueError(f"`{rule}` must hold, but got {got!r}")
