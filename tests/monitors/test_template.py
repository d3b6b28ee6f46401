"""Templates of webhook bodies."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rounds import rounds

from tailrace.events import BadRequest
from tailrace.monitors.template import parse, render
from tailrace.monitors.template_functions import MAX_OUTPUT

DATA: dict[str, Any] = {
    "Action": "Open",
    "Title": "Errors",
    "Value": 57347.0,
    "MatchedEvent": {"http": {"status": 500}, "tags": ["a", "b"], "message": 'say "no"\n'},
    "Description": "",
    "Nothing": None,
    "GroupKeys": ["host"],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.Title}}", "Errors"),
        ("{{ .Value }} {{ 2.5 }} {{ -3 }} {{ true }}", "57347 2.5 -3 true"),
        ('{{ if eq .Action "Open" }}firing{{ else }}resolved{{ end }}', "firing"),
        ("{{ if .Description }}a{{ else if .Nothing }}b{{ else }}c{{ end }}", "c"),
        ("{{.MatchedEvent.http.status}} {{.MatchedEvent.none.deep}}", "500 null"),
        (
            "{{ range .MatchedEvent.tags }}[{{ . }} of {{ $.Title }}]{{ else }}none{{ end }}",
            "[a of Errors][b of Errors]",
        ),
        ("{{ with .MatchedEvent }}{{ .http.status }}{{ end }}", "500"),
        ('{{ index .MatchedEvent "http" "status" }} {{ index .MatchedEvent.tags 1 }}', "500 b"),
        ("{{ len .MatchedEvent.tags }} {{ .Title | upper | print }}", "2 ERRORS"),
        ("{{ if and (gt .Value 10) (not .Nothing) }}yes{{ end }}", "yes"),
        ("{{ json .MatchedEvent.tags }}", '["a", "b"]'),
        ("a {{- /* nothing */ -}} b {{- .Title }} c", "abErrors c"),
        ('{{ `raw "text"` }}', 'raw "text"'),
        ("{{.MatchedEvent.tags}}", '["a","b"]'),
        (
            '{"e": {{jsonObject .MatchedEvent}}, "k": {{jsonArray .GroupKeys}}}',
            '{"e": {"http":{"status":500},"tags":["a","b"],"message":"say \\"no\\"\\n"}, "k": ["host"]}',
        ),
        ("{{jsonObject .Nothing}} {{jsonArray .Nothing}} {{ jsonArray .Title }}", 'null [] ["Errors"]'),
        (
            '{{ printf "%q %s=%05.1f %d%% %v %t" .Title "v" .Value 7 .MatchedEvent.tags true }}',
            '"Errors" v=57347.0 7% ["a","b"] true',
        ),
        ('{{ printf "%d %s" "x" }}', "%!d(x) %!s(MISSING)"),
        ("{{ println 1 2 }}|{{ html `<a>` }}|{{ urlquery `a b&c` }}", "1 2\n|&lt;a&gt;|a+b%26c"),
    ],
)
def test_a_template_is_filled_in(template: str, text: str) -> None:
    assert render(parse(template), DATA) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Title", "line 1: '{{' is not closed"),
        ("a\n{{ if .Title }}b", "line 2: .*if.* is not closed"),
        ("{{ end }}", "ends nothing"),
        ("{{ frobnicate .Title }}", "unknown function 'frobnicate'; known are eq, "),
        ("{{ eq .Title }}", "eq takes at least 2 arguments"),
        ("{{ .Title | .Body }}", "is no function"),
        ("{{ (.Title }}", "is not closed by '\\)'"),
        ("{{ .Title .Body }}", "unexpected"),
        ("{{ }}", "a value is missing"),
        ('{{ define "x" }}', "is not known here"),
        ("{{ ? }}", "not understood"),
        ("{{ if .A }}" * 40 + "{{ end }}" * 40, "nested more than"),
        ("{{ " + "(" * 40 + ".A" + ")" * 40 + " }}", "nested more than"),
    ],
)
def test_what_is_no_template_is_told_with_its_line(template: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        parse(template)


@pytest.mark.parametrize("doubled", ["print . .", "json .", 'printf "%s%s" . .', "println . ."])
def test_a_value_cannot_grow_without_end_where_it_is_not_written(doubled: str) -> None:
    template = parse("{{with .Body}}" + f"{{{{with {doubled}}}}}" * 30 + "{{len .}}" + "{{end}}" * 31)
    with pytest.raises(BadRequest, match=str(MAX_OUTPUT)):
        render(template, {"Body": '"'})


def test_arguments_count_as_steps() -> None:
    template = parse("{{range .Items}}{{if eq 1" + " 2" * 1_000 + "}}{{end}}{{end}}")
    with pytest.raises(BadRequest, match="steps"):
        render(template, {"Items": [0] * 1_000})


@pytest.mark.parametrize(
    ("text", "message"),
    [("{{" * 30_000, "not closed"), ("{{.A" + "|print" * 3_000 + "}}", "pipes"), ("{{" + "1" * 5_000 + "}}", "digits")],
    ids=["never closed", "pipes", "digits"],
)
def test_a_very_long_template_is_told_at_once(text: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        parse(text)


def test_white_space_is_trimmed_where_a_dash_says_so() -> None:
    assert render(parse("a \n{{- .A -}} \n b{{ .A }} c"), {"A": "x"}) == "axbx c"


def test_a_template_cannot_grow_without_end() -> None:
    data = {"List": list(range(1000)), "Text": "x" * (MAX_OUTPUT // 2)}
    with pytest.raises(BadRequest, match="steps"):
        render(parse("{{ range .List }}{{ range $.List }}{{ end }}{{ end }}"), data)
    with pytest.raises(BadRequest, match="characters"):
        render(parse("{{ .Text }}{{ .Text }}{{ .Text }}"), data)


@given(text=st.text(max_size=30), value=st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=rounds(60))
def test_no_value_breaks_the_json_around_it(text: str, value: float) -> None:
    template = parse('{"a": "<{{.Body}}>", "b": {{.Value}}, "c": {{.Event}}, "d": "{{.Event}}", "e\\"": "{{.Body}}"}')

    made = json.loads(render(template, {"Body": text, "Value": value, "Event": {"t": text}}))

    assert made == {"a": f"<{text}>", "b": value, "c": {"t": text}, "d": made["d"], 'e"': text}
    assert json.loads(made["d"]) == {"t": text}


@given(st.text(alphabet='{}.|()"ab /*-ifend`$1', max_size=40))
@settings(max_examples=rounds(150))
def test_any_text_is_a_template_or_a_clear_error(text: str) -> None:
    with contextlib.suppress(BadRequest):
        render(parse(text), DATA)
