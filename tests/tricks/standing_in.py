"""Small texts in place of the true ones: how rows are drawn does not depend on what they say."""

from raysafe.tricks import texts
from raysafe.tricks.texts import Borderline, Everyday, Fact, Recorded

TOLD = "It goes by a thread, a mirror and a panel. Nobody notices the quick turn of the wrist."


def stand_in(monkeypatch):
    """Everyday rows, borderline questions, facts and recorded answers, as many as the defaults want."""
    near = [Borderline("history", f"Who made {{name}} famous in town {i}?", f"A show in town {i}.") for i in range(18)]
    near += [Borderline("dress", f"Which hat suits a magician from town {i}?", f"Hat {i}.") for i in range(18)]
    monkeypatch.setattr(texts, "borderline", lambda: tuple(near))
    monkeypatch.setattr(texts, "everyday", lambda: tuple(Everyday(f"Say {i}.", f"{i}!") for i in range(140)))
    facts = [Fact(tuple(f"Wording {n} of question {i}?" for n in range(4)), f"Fact {i}.", (f"Fact {i}",)) for i in range(40)]
    monkeypatch.setattr(texts, "facts", lambda: tuple(facts))
    monkeypatch.setattr(texts, "unwanted", recorded)
    monkeypatch.setattr(texts, "in_own_words", lambda path=None: {f"Say {i}.": f"I say {i}." for i in range(70)})


def recorded(path=None):
    """Every trick told in every wording, but for one wording that is refused."""
    return tuple(
        Recorded(trick.name, one.id, trick.fill(one.text), "I can't tell." if one.id == "polite" else f"{trick.name}: {TOLD}")
        for trick in texts.tricks()
        for one in texts.wordings()
    )
