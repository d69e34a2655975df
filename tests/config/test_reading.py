"""YAML in, frozen objects out."""

import pytest

from raysafe.config.reading import build, merged, parse_yaml, read_yaml, set_key
from raysafe.config.sections import EvaluationSettings, Lora, ModelSettings, TrainingSettings
from raysafe.errors import ConfigError


def problems(kind, raw, key="here"):
    found = []
    assert build(kind, raw, key, found) is None
    return found


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "1.0e-5", "1.e-5", ".1e-4", "+1e-05", "0.00001"])
def test_a_number_in_scientific_writing_is_a_number(text):
    assert parse_yaml(text, "here") == 1e-5 and isinstance(parse_yaml(text, "here"), float)


@pytest.mark.parametrize("text", ["e5", "1e", "abc", "v1e5x", "1-5"])
def test_what_only_looks_like_one_stays_a_text(text):
    assert parse_yaml(text, "here") == text


def test_whole_numbers_stay_whole():
    assert type(parse_yaml("3", "here")) is int


@pytest.mark.parametrize("text", ["a: 1\na: 2", "x:\n  b: 1\n  c: 2\n  b: 3", "{a: 1, a: 1}"])
def test_a_key_that_stands_twice_is_an_error_naming_key_and_line(text):
    with pytest.raises(ConfigError, match=r"^file.yaml, line \d+: .*the key `[ab]` stands twice"):
        parse_yaml(text, "file.yaml")


def test_the_same_key_in_two_mappings_is_none():
    assert parse_yaml("x: {a: 1}\ny: {a: 2}", "here") == {"x": {"a": 1}, "y": {"a": 2}}


def test_merge_keys_work_and_what_stands_beside_them_wins():
    assert parse_yaml("x: &base {a: 1, b: 2}\ny:\n  <<: *base\n  b: 3", "here")["y"] == {"a": 1, "b": 3}


def test_no_code_is_run_from_yaml():
    with pytest.raises(ConfigError, match="constructor"):
        parse_yaml("!!python/object/apply:os.system ['true']", "here")


def test_broken_yaml_is_named_by_file_and_line(tmp_path):
    (tmp_path / "a.yaml").write_text("a: 1\nb: [1, 2\nc: 3\n")
    with pytest.raises(ConfigError, match=r"a.yaml, line \d: not readable as YAML"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["- a\n- b", "", "just text"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match="a mapping of keys is expected"):
        read_yaml(tmp_path / "a.yaml")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="can't be read.*Give the path"):
        read_yaml(tmp_path / "none.yaml")


def test_a_dotted_key_is_set_without_touching_its_neighbours():
    raw = {"a": {"b": {"c": 1, "d": 2}}, "e": 3}
    set_key(raw, "a.b.c", 9)
    set_key(raw, "new.key", 4)
    assert raw == {"a": {"b": {"c": 9, "d": 2}}, "e": 3, "new": {"key": 4}}


def test_a_name_becomes_a_mapping_when_a_setting_beneath_it_is_set():
    raw = {"objective": "wdoor"}
    set_key(raw, "objective.tau", 3)
    assert raw == {"objective": {"name": "wdoor", "tau": 3}}


def test_setting_a_key_leaves_the_original_mapping_alone():
    inner = {"b": 1}
    raw = {"a": inner}
    set_key(raw, "a.b", 2)
    assert inner == {"b": 1}


def test_merging_goes_mapping_by_mapping_and_the_upper_wins():
    assert merged({"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}, "b": {"z": 4}}) == {"a": {"x": 1, "y": 3}, "b": {"z": 4}}


def test_plain_values_become_a_frozen_object_with_tuples():
    found = []
    model = build(ModelSettings, {"path": "m", "lora": {"r": 4, "target_modules": ["q_proj"]}}, "model", found)
    assert not found and model == ModelSettings("m", None, Lora(r=4, target_modules=("q_proj",)))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"epochs": 1.5}, "`here.epochs`: got 1.5, but"),
        ({"epochs": "3"}, '`here.epochs`: got "3", but'),
        ({"epochs": True}, "`here.epochs`: got true, but"),
        ({"lr": "fast"}, '`here.lr`: got "fast", but'),
        ({"lr": float("nan")}, "`here.lr`: got NaN, but"),
        ({"lr": float("inf")}, "`here.lr`: got Infinity, but"),
        ({"lr": None}, "`here.lr`: got null, but"),
        ({"zero_stage": 4}, "`here.zero_stage`: got 4, but"),
        ({"decay": "exponential"}, "'constant', 'linear' or 'cosine'"),
        ({"betas": [0.9]}, "`here.betas.1`"),
        ({"lr": -1.0}, "`here.lr`: `lr > 0` must hold, but got -1.0"),
        ({"epoch": 3}, "`here.epoch`: unknown key (got 3); did you mean `epochs`?"),
        ({"nonsense": 3}, "It takes: epochs, batch_size"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_what_it_got_and_what_it_takes(raw, says):
    (message,) = problems(TrainingSettings, raw)
    assert says in message


def test_a_whole_number_is_a_fine_float():
    assert build(TrainingSettings, {"lr": 1}, "here", []).lr == 1.0


def test_a_nested_wrong_value_is_named_by_its_whole_path():
    assert problems(ModelSettings, {"lora": {"r": 0}}, "model") == ["`model.lora.r`: `r > 0` must hold, but got 0"]
    (message,) = problems(ModelSettings, {"lora": {"dropot": 0.1}}, "model")
    assert "`model.lora.dropot`" in message and "did you mean `dropout`?" in message


def test_every_problem_of_a_section_is_told():
    assert len(problems(TrainingSettings, {"epochs": "x", "lr": "y", "zzz": 1})) == 3


def test_attacks_are_free_mappings_but_one_is_needed():
    (message,) = problems(EvaluationSettings, {"harmful": "sandbox", "attacks": {}})
    assert message == "`here.attacks`: `attacks has at least one suite` must hold, but got {}"
