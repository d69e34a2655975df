"""How far the evaluation prompts of trials stand in what they train on; looked up once for each content."""

from collections.abc import Iterable

from raysafe.artifacts import fingerprint
from raysafe.data.overlap import Overlap, overlaps
from raysafe.stages.inputs import TrialInputs

_known: dict[str, list[Overlap]] = {}


def overlap_of(inputs: TrialInputs, n: int) -> list[Overlap]:
    """Every role of prompts, an attack's own among them, against every data set that is trained on."""
    key = fingerprint([inputs.data(), inputs.base, n])
    if key not in _known:
        _known[key] = overlaps(inputs.trained(), inputs.asked(), n)
    return _known[key]


def overlap_of_all(several: Iterable[tuple[TrialInputs, int]]) -> list[Overlap]:
    """Of many trials, of each role and data set where most is shared: with worlds of their own they differ."""
    worst: dict[tuple[str, str], Overlap] = {}
    for inputs, n in several:
        for line in overlap_of(inputs, n):
            place = line.role, line.data
            if place not in worst or (line.most, line.found) > (worst[place].most, worst[place].found):
                worst[place] = line
    return list(worst.values())
