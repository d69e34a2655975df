"""SEAL's penalty strength over the epochs: whatever form a schedule is given in, in the end it is one gamma an epoch."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from raysafe.errors import require

Schedule = Any
"""`constant`, `linear`, one gamma an epoch, a callable from epoch to gamma, or a callable's import path, told
apart in `resolved`, whose messages name all of them at once."""
NAMED = ("constant", "linear")
_FORMS = (
    "schedule is constant, linear, a list with the gamma of every epoch, a callable of the epoch (counted from 0), "
    "or the import path package.module:function of one"
)


def resolved(schedule: Any, epochs: int) -> str | tuple[float, ...]:
    """`constant` and `linear` as they are; of any other schedule its values, one an epoch.

    A callable is asked once for each epoch and then forgotten, so that two schedules of equal values are equal.
    Raises ValueError, naming what was got, for what is no schedule, can't be imported, or leaves 0 <= gamma < 1.
    """
    if isinstance(schedule, str) and schedule in NAMED:
        return schedule
    function = _imported(schedule) if isinstance(schedule, str) else schedule
    if callable(function):
        values = tuple(_number(_called(function, epoch), f"schedule({epoch}) is a number") for epoch in range(epochs))
    else:
        require(isinstance(function, Sequence), _FORMS, schedule)
        values = tuple(_number(value, "schedule lists numbers") for value in function)
        require(len(values) == epochs, f"schedule lists one gamma for each of the {epochs} epochs", list(values))
    require(all(0 <= value < 1 for value in values), "schedule gives 0 <= gamma < 1 in every epoch", list(values))
    return values


def import_path(function: Callable[..., Any]) -> str:
    """`package.module:function`, which is how a configuration holds a function. Raises ValueError if it leads elsewhere, as of
    lambdas and of functions within functions."""
    path = f"{getattr(function, '__module__', None)}:{getattr(function, '__qualname__', type(function).__qualname__)}"
    try:
        found = _imported(path)
    except ValueError:
        found = None
    require(found is function, "a function stands by its name in a module (or write its values as a list)", path)
    return path


def _imported(path: str) -> Any:
    module, colon, name = path.partition(":")
    require(bool(module and colon and name), _FORMS, path)
    try:
        function = getattr(import_module(module), name)
    except Exception as error:  # whatever the user's own module raises
        raise ValueError(f"`schedule` is the import path {path!r}, but it can't be imported: {error}") from error
    require(callable(function), "schedule is the import path of a callable", path)
    return function


def _called(function: Callable[[int], Any], epoch: int) -> Any:
    try:
        return function(epoch)
    except Exception as error:
        raise ValueError(f"`schedule({epoch})` must give a gamma, but it raised {type(error).__name__}: {error}") from error


def _number(value: Any, rule: str) -> float:
    require(isinstance(value, int | float) and not isinstance(value, bool), rule, value)
    return float(value)
