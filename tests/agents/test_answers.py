"""Answers to agents: what is left out, and how that is said."""

from tailrace.agents.answers import MAX_CELL_CHARACTERS, MAX_CHARACTERS, AnswerTable, shown


def test_a_small_table_is_whole() -> None:
    assert shown(AnswerTable(["a", "b"], [[1, None], ["x", {"y": 2}]]), "") == {
        "columns": ["a", "b"],
        "rows": [[1, None], ["x", {"y": 2}]],
        "notes": [],
    }


def test_what_is_left_out_is_said() -> None:
    assert shown(AnswerTable(["a"], [[1]], is_cut=True), "ask for more")["notes"] == [
        "there are more than these 1 rows: ask for more"
    ]

    long = shown(AnswerTable(["a"], [["x" * 10_000], [{"y": "z" * 10_000}]]), "")
    assert [len(row[0]) for row in long["rows"]] == [MAX_CELL_CHARACTERS + 1] * 2
    assert long["notes"] == ["2 values are cut to 500 characters: query their parts by substring()"]

    some = shown(AnswerTable(["a"], [["x" * 600]] * 1000), "", ["and so on"])
    assert some["notes"][1:] == [
        f"{len(some['rows'])} values are cut to 500 characters: query their parts by substring()",
        "and so on",
    ]

    many = shown(AnswerTable(["a"], [["x" * 400]] * 1000), "")
    assert 0 < sum(len(row[0]) for row in many["rows"]) <= MAX_CHARACTERS
    assert many["notes"] == [
        f"only the first {len(many['rows'])} of 1000 rows fit into 30000 characters: project fewer fields, or summarize"
    ]
