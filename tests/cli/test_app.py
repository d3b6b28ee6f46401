"""How the command line refuses values, before any command runs."""

import pytest
from typer.testing import CliRunner

from tailrace.cli.app import build


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["query", "demo", "--format", "xml"],
            "Invalid value for '--format': 'xml' is not one of 'table', 'json', 'ndjson', 'csv', 'arrow',",
        ),
        (["config", "--format", "xml"], "Invalid value for '--format': 'xml' is not one of 'table', 'json'."),
        (["token", "create", "x", "--role", "boss"], "Invalid value for '--role': 'boss' is not one of 'viewer',"),
        (["dataset", "create", "x", "--retention", "a"], "'--retention': 'a' is not a whole number"),
        (["dataset", "create", "x", "--retention", "1.5"], "'--retention': '1.5' is not a whole number"),
        (["dataset", "create", "x", "--retention", "9" * 5000], "is not a whole number"),
        (["dataset", "create", "x", "--retention", "-5"], "Invalid value for '--retention': -5 is less than 0"),
        (["audit", "--limit", "50001"], "Invalid value for '--limit': 50001 is more than 50000"),
        (["audit", "--limit", ""], "Invalid value for '--limit': '' is not a whole number"),
    ],
)
def test_a_value_is_refused_in_a_sentence(arguments: list[str], message: str) -> None:
    run = CliRunner().invoke(build(arguments), arguments, env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})

    assert run.exit_code == 2
    assert message in run.output
    assert "Value error" not in run.output
