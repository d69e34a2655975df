import pytest

from raysafe.tracking.base import RunSpec, short_text, without_password


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://***@host/db"),
        ("https://token@host/x", "https://***@host/x"),
        ("hf://owner/name@main", "hf://owner/name@main"),
    ],
)
def test_no_password_of_a_url_is_shown(text: str, shown: str) -> None:
    assert without_password(text) == shown


def test_a_list_is_written_as_json() -> None:
    assert short_text([3, 4]) == "[3, 4]"


def test_a_key_that_would_break_the_search_is_refused() -> None:
    with pytest.raises(ValueError, match="key has only"):
        RunSpec("trial", "it's", "name")


def test_a_stage_says_which() -> None:
    with pytest.raises(ValueError, match="stage is given"):
        RunSpec("stage", "0a1b", "name")
