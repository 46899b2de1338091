"""Typed settings: what is refused, how errors read, and that the JSON schema says the same."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import jsonschema
import pytest
import yaml

from medtransfer.config.typed import describe, json_schema, option, parse, plain, suggestion
from medtransfer.errors import ConfigError


@dataclass(frozen=True)
class Shares:
    """Shares of a whole."""

    first: float = option("first share", default=0.25, minimum=0.0, maximum=1.0)
    second: float = option("second share", default=0.25, minimum=0.0, maximum=1.0)

    def __post_init__(self) -> None:
        if self.first + self.second > 1:
            raise ConfigError("first and second are more than the whole\nallowed: a sum up to 1")


@dataclass(frozen=True)
class Example:
    """One of everything.

    A second paragraph that no schema shows.
    """

    title: str = option("a text")
    count: int = option("how many", minimum=1)
    mode: Literal["fast", "slow"] = option("a mode", default="fast")
    channels: Literal[1, 3] = option("a number of few", default=3)
    flag: bool = option("a switch", default=False)
    rate: float = option("a rate", default=0.5, minimum=0.0)
    limit: float | None = option("a limit or none", default=None, minimum=0.0)
    labels: str | tuple[str, ...] = option("one column or several", default="label")
    values: tuple[str | int, ...] = option("values", default=())
    seeds: tuple[int, ...] = option("seeds", default=(0, 1), minimum=0)
    shares: Shares = option("a nested block", default=Shares())
    optional: Shares | None = option("a nested block or none", default=None)
    named: dict[str, Shares] = option("named blocks", default={})
    edges: dict[str, tuple[float, ...]] = option("numbers by name", default={})
    pairs: tuple[tuple[str, ...], ...] = option("lists of lists", default=())
    anything: dict[str, Any] = option("free keys", default={})


REQUIRED = {"title": "t", "count": 2}


def read(**keys: Any) -> Example:
    return parse(Example, {**REQUIRED, **keys}, "file.yaml")


def problems(value: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(Example, value, "file.yaml")
    return str(caught.value).splitlines()


def fits_parser(value: Any) -> bool:
    try:
        parse(Example, value, "x")
    except ConfigError:
        return False
    return True


def test_absent_keys_take_their_defaults_and_given_ones_their_values():
    found = read(rate=3, seeds=[5], labels=["a", "b"])
    assert found == Example(
        title="t", count=2, rate=3.0, seeds=(5,), labels=("a", "b"), shares=Shares(0.25, 0.25)
    )
    assert (found.mode, found.limit, found.named) == ("fast", None, {})


def test_a_whole_number_for_a_number_becomes_a_float():
    assert isinstance(read(rate=3).rate, float)
    assert isinstance(read(limit=1).limit, float)


def test_each_instance_gets_its_own_empty_mapping():
    assert read().anything is not read().anything


def test_an_unknown_key_names_the_key_a_suggestion_and_the_allowed_keys():
    (line,) = problems({**REQUIRED, "chanels": 3})
    assert line.startswith("file.yaml: unknown key 'chanels'; did you mean 'channels'? (allowed: ")
    assert "title, count, mode, channels, flag" in line


def test_an_unknown_key_far_from_all_others_gets_no_suggestion():
    (line,) = problems({**REQUIRED, "zzz": 3})
    assert "unknown key 'zzz' (allowed: title" in line


def test_an_unknown_nested_key_is_named_with_its_parents():
    (line,) = problems({**REQUIRED, "named": {"x": {"frst": 0.1}}})
    assert "unknown key 'named.x.frst'; did you mean 'first'? (allowed: first, second)" in line


def test_a_missing_key_is_named_with_its_meaning():
    assert problems({"title": "t"}) == ["file.yaml: key 'count' is missing (how many)"]


def test_several_problems_are_reported_at_once_one_a_line():
    found = problems({"titel": "t", "count": 0, "mode": "quick", "shares": {"first": 2}})
    assert len(found) == 5
    for words in ("'titel'", "'title' is missing", "'count' is 0", "'mode'", "'shares.first' is 2"):
        assert sum(words in line for line in found) == 1


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("count", 0, "at least 1"),
        ("rate", -0.001, "at least 0.0"),
        ("limit", -1, "at least 0.0"),
    ],
)
def test_a_value_below_its_bound_is_refused(key, value, allowed):
    assert problems({**REQUIRED, key: value}) == [
        f"file.yaml: key '{key}' is {value}; allowed: {allowed}"
    ]


def test_both_bounds_are_named_and_are_themselves_allowed():
    (line,) = problems({**REQUIRED, "shares": {"first": 1.5}})
    assert line.endswith("key 'shares.first' is 1.5; allowed: at least 0.0 and at most 1.0")
    assert read(shares={"first": 1.0, "second": 0.0}).shares == Shares(1.0, 0.0)


def test_bounds_hold_for_each_item_of_a_list():
    assert problems({**REQUIRED, "seeds": [0, -4]}) == [
        "file.yaml: key 'seeds[1]' is -4; allowed: at least 0"
    ]


def test_not_a_number_is_outside_of_every_bound():
    text = "{title: t, count: 2, rate: .nan}"
    with pytest.raises(ConfigError, match="key 'rate' is nan"):
        parse(Example, yaml.safe_load(text), "file.yaml")


@pytest.mark.parametrize(
    ("key", "value", "found", "allowed"),
    [
        ("title", 3, "3 (int)", "text"),
        ("title", None, "empty", "text"),
        ("count", 2.5, "2.5 (float)", "a whole number"),
        ("count", "2", "'2' (str)", "a whole number"),
        ("count", True, "true (true/false; quote it if a name is meant)", "a whole number"),
        ("rate", "fast", "'fast' (str)", "a number"),
        ("rate", False, "false (true/false; quote it if a name is meant)", "a number"),
        ("flag", 1, "1 (int)", "true or false"),
        ("flag", "yes", "'yes' (str)", "true or false"),
        ("mode", "quick", "'quick' (str)", "fast | slow"),
        ("channels", 2, "2 (int)", "1 | 3"),
        ("channels", True, "true (true/false; quote it if a name is meant)", "1 | 3"),
        ("channels", 3.0, "3.0 (float)", "1 | 3"),
        ("limit", "none", "'none' (str)", "a number"),
        ("labels", 3, "3 (int)", "text or a list of text"),
        ("labels", ["a", 1], "['a', 1] (list)", "text or a list of text"),
        ("seeds", 3, "3 (int)", "a list of a whole number"),
        ("named", ["a"], "['a'] (list)", "names with keys and values"),
        ("edges", [1], "[1] (list)", "names with a list of a number"),
        ("pairs", "ab", "'ab' (str)", "a list of a list of text"),
    ],
)
def test_a_wrong_type_is_named_with_what_was_found_and_what_is_allowed(key, value, found, allowed):
    assert problems({**REQUIRED, key: value}) == [
        f"file.yaml: key '{key}' is {found}; allowed: {allowed}"
    ]


def test_yaml_booleans_among_names_are_refused_with_advice_to_quote():
    found = yaml.safe_load("{title: t, count: 2, values: [no, 1, 'yes', on]}")
    assert problems(found) == [
        "file.yaml: key 'values[0]' is false (true/false; quote it if a name is meant); "
        "allowed: text or a whole number",
        "file.yaml: key 'values[3]' is true (true/false; quote it if a name is meant); "
        "allowed: text or a whole number",
    ]


def test_a_yaml_boolean_is_read_where_a_switch_is_meant():
    assert parse(Example, yaml.safe_load("{title: t, count: 2, flag: yes}"), "x").flag is True


def test_a_union_takes_each_of_its_types_and_keeps_the_type():
    assert read(labels="a").labels == "a"
    assert read(labels=["a", "b"]).labels == ("a", "b")
    assert read(values=["a", 1]).values == ("a", 1)
    assert read(limit=None).limit is None
    assert read(optional=None).optional is None
    assert read(optional={"first": 0.5}).optional == Shares(0.5, 0.25)


def test_lists_within_mappings_and_lists_are_read_and_their_problems_named():
    found = read(edges={"age": [40, 60.5]}, pairs=[["a", "b"], ["c"]])
    assert found.edges == {"age": (40.0, 60.5)}
    assert all(isinstance(edge, float) for edge in found.edges["age"])
    assert found.pairs == (("a", "b"), ("c",))
    assert problems(
        {**REQUIRED, "edges": {"age": [40, "60"], "size": 3}, "pairs": [["a", 1], "b"]}
    ) == [
        "file.yaml: key 'edges.age[1]' is '60' (str); allowed: a number",
        "file.yaml: key 'edges.size' is 3 (int); allowed: a list of a number",
        "file.yaml: key 'pairs[0][1]' is 1 (int); allowed: text",
        "file.yaml: key 'pairs[1]' is 'b' (str); allowed: a list of text",
    ]


def test_a_problem_inside_an_optional_block_names_the_inner_key():
    assert problems({**REQUIRED, "optional": {"first": "half"}}) == [
        "file.yaml: key 'optional.first' is 'half' (str); allowed: a number"
    ]


@pytest.mark.parametrize("value", [None, "text", [1, 2], 3])
def test_a_file_that_holds_no_mapping_is_refused(value):
    (line,) = problems(value)
    assert line.startswith("file.yaml: expected keys and values, found ")


def test_a_block_that_is_no_mapping_is_refused_by_name():
    assert problems({**REQUIRED, "shares": 0.5}) == [
        "file.yaml: shares: expected keys and values, found 0.5 (float)"
    ]


def test_problems_between_keys_carry_the_place_on_each_line():
    assert problems({**REQUIRED, "named": {"x": {"first": 0.9, "second": 0.9}}}) == [
        "file.yaml: named.x: first and second are more than the whole",
        "file.yaml: named.x: allowed: a sum up to 1",
    ]


def test_names_that_yaml_reads_as_numbers_become_text():
    found = parse(Example, yaml.safe_load("{title: t, count: 1, named: {2019: {}}}"), "x")
    assert found.named == {"2019": Shares()}


def test_suggestions_come_only_for_close_names():
    assert suggestion("lables", ["labels", "root"]) == "; did you mean 'labels'?"
    assert suggestion("qqq", ["labels", "root"]) == ""
    assert suggestion("x", []) == ""


def test_every_kind_of_type_is_described_in_words():
    words = {
        str: "text",
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        Any: "any value",
        Shares: "keys and values",
        Literal["a", "b"]: "a | b",
        float | None: "a number",
        str | tuple[str, ...]: "text or a list of text",
        tuple[int, ...]: "a list of a whole number",
        dict[str, Shares]: "names with keys and values",
        dict[str, tuple[float, ...]]: "names with a list of a number",
        tuple[tuple[str, ...], ...]: "a list of a list of text",
    }
    assert {hint: describe(hint) for hint in words} == words


def test_plain_settings_survive_json_and_parse_to_themselves():
    settings = read(
        labels=["a"],
        named={"x": {"first": 0.5}},
        edges={"age": [40]},
        pairs=[["a", "b"]],
        anything={"k": [1, {"z": None}]},
    )
    again = parse(Example, json.loads(json.dumps(plain(settings))), "x")
    assert again == settings
    assert again != read()


def test_the_schema_requires_exactly_the_keys_without_default():
    assert json_schema(Example)["required"] == ["title", "count"]
    assert json_schema(Shares)["required"] == []


def test_the_schema_forbids_other_keys_at_every_level():
    schema = json_schema(Example)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["shares"]["additionalProperties"] is False
    assert schema["properties"]["named"]["additionalProperties"]["additionalProperties"] is False


def test_the_schema_carries_enumerations_bounds_defaults_and_descriptions():
    schema = json_schema(Example)
    properties = schema["properties"]
    assert schema["description"] == "One of everything."
    assert properties["mode"] == {
        "enum": ["fast", "slow"],
        "description": "a mode",
        "default": "fast",
    }
    assert properties["count"] == {"type": "integer", "description": "how many", "minimum": 1}
    assert properties["shares"]["properties"]["first"]["maximum"] == 1.0
    assert properties["shares"]["default"] == {"first": 0.25, "second": 0.25}
    assert properties["labels"]["anyOf"] == [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
    ]


def test_the_schema_is_a_valid_schema_that_survives_json():
    schema = json.loads(json.dumps(json_schema(Example)))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == json_schema(Example)


ONE_KEY_CASES = [
    {"title": 3},
    {"count": 0},
    {"count": 2.5},
    {"count": True},
    {"mode": "slow"},
    {"mode": "quick"},
    {"channels": 1},
    {"channels": True},
    {"flag": "yes"},
    {"rate": 2},
    {"rate": -1},
    {"rate": None},
    {"limit": None},
    {"limit": 0},
    {"limit": -1},
    {"limit": "x"},
    {"labels": "a"},
    {"labels": ["a"]},
    {"labels": [1]},
    {"values": ["a", 1]},
    {"values": [1.5]},
    {"values": [False]},
    {"seeds": []},
    {"seeds": 1},
    {"shares": {}},
    {"shares": {"first": 1.1}},
    {"shares": {"third": 0.1}},
    {"shares": None},
    {"optional": None},
    {"optional": {"first": 0.5}},
    {"optional": {"firsst": 0.5}},
    {"named": {"a": {}, "b": {"second": 0}}},
    {"named": {"a": 1}},
    {"named": []},
    {"edges": {}},
    {"edges": {"a": [1, 2.5]}},
    {"edges": {"a": []}},
    {"edges": {"a": ["1"]}},
    {"edges": {"a": 1}},
    {"pairs": [["a"], []]},
    {"pairs": ["a"]},
    {"pairs": [[1]]},
    {"anything": {"a": [None]}},
    {"anything": 3},
    {"unknown": 1},
]


@pytest.mark.parametrize("keys", ONE_KEY_CASES, ids=json.dumps)
def test_schema_and_parser_agree_on_what_is_valid(keys):
    value = {**REQUIRED, **keys}
    accepted = jsonschema.Draft202012Validator(json_schema(Example)).is_valid(value)
    assert accepted == fits_parser(value)


def test_schema_and_parser_agree_on_missing_keys_and_the_cases_hold_both_answers():
    validator = jsonschema.Draft202012Validator(json_schema(Example))
    assert [validator.is_valid(v) for v in ({"title": "t"}, {"count": 1}, REQUIRED)] == [0, 0, 1]
    answers = [fits_parser({**REQUIRED, **keys}) for keys in ONE_KEY_CASES]
    assert 10 < sum(answers) < len(answers) - 10
    assert [fits_parser(v) for v in ({"title": "t"}, {"count": 1}, REQUIRED)] == [0, 0, 1]
