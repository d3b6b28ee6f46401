"""Loki's query API: what Grafana's Loki data source asks, over events that a Loki client pushed."""

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from starlette.datastructures import ImmutableMultiDict

from tailrace.api.loki_parameters import range_of

if TYPE_CHECKING:
    from conftest import Server

NS = 1_000_000_000
CATEGORIZED = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}


@pytest.fixture(scope="session")
def start_ns() -> int:
    """Return a whole minute, an hour ago."""
    return (int(time.time()) // 60 - 60) * 60 * NS


@pytest.fixture(scope="session")
def logs(server: "Server", start_ns: int) -> str:
    """Return a dataset with 60 lines of two streams, a second apart; every third of one is an error."""
    dataset = server.create("loki-logs")

    def line(number: int) -> list[Any]:
        level = "error" if number % 3 == 0 else "info"
        text = f'level={level} took={number}ms msg="request {number} done" path=/a'
        return [str(start_ns + number * NS), text, {"trace": f"t{number}"}]

    streams = [
        {"stream": {"job": "api", "host": "h-1"}, "values": [line(number) for number in range(0, 60, 2)]},
        {"stream": {"job": "web", "host": "h-2"}, "values": [line(number) for number in range(1, 60, 2)]},
        {"stream": {"job": "json"}, "values": [[str(start_ns + 90 * NS), json.dumps({"a": {"b": 7}, "status": 503})]]},
    ]
    answer = server.client.post("/loki/api/v1/push", json={"streams": streams}, headers={"X-Axiom-Dataset": dataset})
    assert answer.status_code == 204, answer.text
    return dataset


def ask(server: "Server", path: str, headers: dict[str, str] | None = None, **parameters: Any) -> Any:
    """Return the data of an answer."""
    answer = server.client.get(f"/loki/api/v1/{path}", params=parameters, headers=headers or {})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["status"] == "success"
    return body["data"]


def refusal(server: "Server", path: str, **parameters: Any) -> tuple[int, str]:
    answer = server.client.get(f"/loki/api/v1/{path}", params=parameters)
    return answer.status_code, answer.json()["message"]


def texts(data: Any) -> list[str]:
    """Return the lines of all streams, by time."""
    assert data["resultType"] == "streams"
    return [line for _, line in sorted((value[0], value[1]) for stream in data["result"] for value in stream["values"])]


def numbers_of(lines: list[str]) -> list[int]:
    return [int(line.partition("took=")[2].partition("ms")[0]) for line in lines]


def lines(server: "Server", logs: str, start_ns: int, query: str, **parameters: Any) -> list[int]:
    """Return the numbers of the lines that a query finds in the first minute."""
    whole = (
        query.replace("{", f'{{dataset="{logs}"', 1)
        if query.startswith("{}")
        else query.replace("{", f'{{dataset="{logs}",', 1)
    )
    data = ask(
        server, "query_range", query=whole, start=start_ns, end=start_ns + 60 * NS, **{"limit": 100, **parameters}
    )
    return numbers_of(texts(data))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("{}", range(60)),
        ('{job="api"}', range(0, 60, 2)),
        ('{job!="api"}', range(1, 60, 2)),
        ('{job=~"a.*|none"}', range(0, 60, 2)),
        ('{job=~"a"}', []),  # the whole of a value
        ('{job!~"a.+"}', range(1, 60, 2)),
        ('{host!="h-1"} |= "took"', range(1, 60, 2)),
        ('{nothing=""}', range(60)),  # a label that is not there is empty
        ('{nothing!=""}', []),
        ('{} |= "request 7 "', [7]),
        ('{} |= "request 7 " or "request 8 "', [7, 8]),
        ('{job="web"} != "level=info"', range(3, 60, 6)),
        ('{} |~ "request [12]5 "', [15, 25]),
        ('{} !~ "took=.*ms" ', []),
        ("{} |= `request 7 ` |= \"info\"", [7]),
        ('{} | trace="t12"', [12]),
        ('{} | logfmt | level="error" | job="api"', range(0, 60, 6)),
        ('{} | logfmt | level="error" and took != "3ms", job="web"', range(9, 60, 6)),
        ('{} | logfmt | (msg="request 3 done" or msg=~"request 1. done") and job="web"', [3, 11, 13, 15, 17, 19]),
        ('{} # a comment\n |= "request 7 "', [7]),
        ('{} | logfmt | took > 55ms', [56, 57, 58, 59]),
        ('{} | logfmt | took <= 0.002s or took = 1m', [0, 1, 2]),
        ('{} | logfmt | label_format rank=level | rank="error" | level="" | job="api"', range(0, 60, 6)),
        ('{} | label_format who="{{.job}}@{{.host}}" | who="web@h-2"', range(1, 60, 2)),
        ('{} | label_format job=none | job="api"', range(0, 60, 2)),  # of a label that is not there
        ('{} | label_format job=host, host=job | host="h-1"', range(0, 60, 2)),
        ('{} | label_format x="{{.job}}", y="{{.x}}" | x="api" | y=""', range(0, 60, 2)),
        ('{} | drop job | job="api"', []),
        ('{} | keep job | host="" | job="api"', range(0, 60, 2)),
        ('{} | logfmt | line_format "took={{.took}}" |~ "^took=5ms$" | logfmt | level="info"', [5]),
        ('{} | logfmt | level_extracted="" | dataset=~"loki-.+" | took="7ms"', [7]),
    ],
)  # fmt: skip
def test_lines_are_found_as_loki_finds_them(server: "Server", logs: str, start_ns: int, query: str, found: Any) -> None:
    assert lines(server, logs, start_ns, query) == list(found)


def test_lines_come_latest_first_up_to_a_limit_within_the_time(server: "Server", logs: str, start_ns: int) -> None:
    assert lines(server, logs, start_ns, '{job="api"}', limit=3) == [54, 56, 58]
    assert lines(server, logs, start_ns, '{job="api"}', limit=3, direction="forward") == [0, 2, 4]
    within: dict[str, Any] = {"start": start_ns // NS + 10, "end": f"{start_ns // NS + 12}.0"}
    data = ask(server, "query_range", query=f'{{dataset="{logs}"}}', **within)
    assert numbers_of(texts(data)) == [10, 11]  # the end is exclusive


def test_labels_of_lines_are_the_fields_of_the_event(server: "Server", logs: str, start_ns: int) -> None:
    asked: dict[str, Any] = {
        "query": f'{{dataset="{logs}"}} |= "request 4 "',
        "start": start_ns,
        "end": start_ns + 60 * NS,
    }
    labels = {"dataset": logs, "job": "api", "host": "h-1"}
    line = 'level=info took=4ms msg="request 4 done" path=/a'
    time_ = str(start_ns + 4 * NS)

    merged = ask(server, "query_range", **asked)
    assert merged["result"] == [{"stream": {**labels, "trace": "t4"}, "values": [[time_, line]]}]
    apart = ask(server, "query_range", CATEGORIZED, **asked)
    assert apart["encodingFlags"] == ["categorize-labels"]
    assert apart["result"] == [{"stream": labels, "values": [[time_, line, {"structuredMetadata": {"trace": "t4"}}]]}]


def test_stages_make_lines_and_labels(server: "Server", logs: str, start_ns: int) -> None:
    def one(stages: str, headers: dict[str, str] | None = None) -> Any:
        query = f'{{dataset="{logs}", job="web"}} |= "request 5 " {stages}'
        (stream,) = ask(server, "query_range", headers, query=query, start=start_ns, end=start_ns + 60 * NS)["result"]
        return stream

    assert one("| logfmt")["stream"]["took"] == "5ms"
    assert one("| logfmt", CATEGORIZED)["values"][0][2]["parsed"] == {
        "level": "info", "took": "5ms", "msg": "request 5 done", "path": "/a",
    }  # fmt: skip
    assert one('| logfmt | line_format "{{.job}}: {{ .msg }}"')["values"][0][1] == "web: request 5 done"
    assert one("| keep job")["stream"] == {"job": "web"}
    renamed = one('| label_format app=job, said="{{.app}}{{.host}}" | drop dataset, trace')["stream"]
    assert renamed == {"app": "web", "host": "h-2", "said": "webh-2"}
    parts = one("| label_format app=job, id=trace", CATEGORIZED)
    assert parts["stream"] == {"dataset": logs, "app": "web", "host": "h-2"}
    assert parts["values"][0][2] == {"parsed": {"id": "t5"}}
    assert one("| drop job, trace, host")["stream"] == {"dataset": logs}
    query = f'{{dataset="{logs}"}} | json | status > 500 | a_b = 7'
    (stream,) = ask(server, "query_range", query=query, start=start_ns, end=start_ns + 120 * NS)["result"]
    assert (stream["stream"]["a_b"], stream["stream"]["status"]) == ("7", "503")


def matrix(server: "Server", start_ns: int, query: str, step: int, end: int = 60) -> dict[str, list[list[Any]]]:
    """Return the points of each series as seconds from the start and texts, by the labels' texts."""
    data = ask(server, "query_range", query=query, start=start_ns, end=start_ns + end * NS, step=step)
    assert data["resultType"] == "matrix"
    first = start_ns // NS
    return {
        ",".join(f"{name}={value}" for name, value in each["metric"].items()): [
            [at - first, text] for at, text in each["values"]
        ]
        for each in data["result"]
    }


def test_numbers_are_counted_in_ranges(server: "Server", logs: str, start_ns: int) -> None:
    web = f'{{dataset="{logs}", job="web"}}'
    everything = f'{{dataset="{logs}", job=~"api|web"}}'

    assert matrix(server, start_ns, f"sum(count_over_time({everything}[20s]))", 20) == {
        "": [[20, "20"], [40, "20"], [60, "20"]]
    }
    assert matrix(server, start_ns, f"sum by (job) (count_over_time({everything}[20s]))", 30) == {
        "job=api": [[30, "10"], [60, "10"]],
        "job=web": [[30, "10"], [60, "10"]],
    }
    # Ranges that overlap.
    assert matrix(server, start_ns, f"sum(count_over_time({web}[30s]))", 10) == {
        "": [[10, "5"], [20, "10"], [30, "15"], [40, "15"], [50, "15"], [60, "15"]]
    }
    assert matrix(server, start_ns, f"sum(rate({everything}[30s])) * 60", 30) == {"": [[30, "60"], [60, "60"]]}
    assert matrix(server, start_ns, f"1 + sum(rate({everything}[30s])) / 2", 30) == {"": [[30, "1.5"], [60, "1.5"]]}
    errors = f'{everything} |= "error"'
    share = f"sum by (job) (count_over_time({errors} [60s])) / sum by (job) (count_over_time({everything}[60s]))"
    assert matrix(server, start_ns, f"{share} > 0.3", 60) == {
        "job=api": [[60, "0.3333333333333333"]],
        "job=web": [[60, "0.3333333333333333"]],
    }
    nothing = f'sum(count_over_time({everything} |= "nowhere" [60s])) or vector(0)'
    assert matrix(server, start_ns, nothing, 60) == {"": [[0, "0"], [60, "0"]]}
    # Each stream by itself.
    assert matrix(server, start_ns, f"count_over_time({web}[60s])", 60) == {"host=h-2,job=web": [[60, "30"]]}
    assert matrix(server, start_ns, f'topk(1, sum by (job) (count_over_time({everything} |= "error" [60s])))', 60) == {
        "job=api": [[60, "10"]]
    }
    length = len('level=info took=5ms msg="request 5 done" path=/a')
    assert matrix(server, start_ns, f'sum(bytes_over_time({web} |= "request 5 " [60s]))', 60) == {
        "": [[60, str(length)]]
    }


def test_numbers_are_taken_of_labels(server: "Server", logs: str, start_ns: int) -> None:
    web = f'{{dataset="{logs}", job="json"}} | json | unwrap status'

    for function, value in (("sum", "503"), ("avg", "503"), ("min", "503"), ("max", "503")):
        query = f"sum({function}_over_time({web} [60s]))"
        assert matrix(server, start_ns, query, 60, end=120) == {"": [[120, value]]}, function
    assert matrix(server, start_ns, f"sum(quantile_over_time(0.5, {web} [60s]))", 60, end=120) == {"": [[120, "503"]]}


def test_lines_without_a_number_are_none_of_those_that_are_computed_with(server: "Server", start_ns: int) -> None:
    dataset = server.create("loki-numbers")
    events = [{"_time": start_ns // 1_000_000, "message": f"n={n}"} for n in (2, 4, 4, 4, 5, 5, 7, 9, "none")]
    events += [{"_time": start_ns // 1_000_000 + 60_000, "message": f"n={n}"} for n in ("none", "")]
    server.ingest(dataset, events)

    def computed(function: str, minutes: int = 1) -> Any:
        query = f'{function}({{dataset="{dataset}"}} | logfmt | unwrap n [60s])'
        return matrix(server, start_ns, f"sum({query})", 60, end=60 * minutes)

    for function, value in (("avg", "5"), ("sum", "40"), ("stdvar", "4"), ("stddev", "2"), ("max", "9")):
        assert computed(f"{function}_over_time", 3) == {"": [[60, value]]}, function


def test_conditions_find_the_labels_that_lines_show(server: "Server", start_ns: int) -> None:
    dataset = server.create("loki-keys")
    lines = [
        json.dumps({"http.status": 503, "user-agent": "a", "x": {"y.z": 1}, "one.two.three.four": 4}),
        r'http.status=503 user-agent=a msg="say \"hi\" \\"',
    ]
    events = [{"_time": start_ns // 1_000_000, "message": line} for line in lines]
    assert server.ingest(dataset, events).status_code == 200

    def found(stages: str) -> list[dict[str, str]]:
        query, end = f'{{dataset="{dataset}"}} {stages}', start_ns + NS
        return [each["stream"] for each in ask(server, "query_range", query=query, start=start_ns, end=end)["result"]]

    [shown] = found('| json | __error__=""')
    assert shown.keys() >= {"http_status", "user_agent", "x_y_z", "one_two_three_four"}
    for label, value in shown.items():
        assert found(f'| json | {label}="{value}"'), label
    [shown] = found('| logfmt | http_status="503"')
    assert (shown["user_agent"], shown["msg"]) == ("a", 'say "hi" \\')
    assert found(f"| logfmt | msg=`{shown['msg']}` | user_agent=`a`") == [shown]


def test_ranges_may_lie_before_or_after_the_times_that_they_are_for(server: "Server", logs: str, start_ns: int) -> None:
    web = f'{{dataset="{logs}", job="web"}}'

    for offset, found in (
        ("30s", [[40, "5"], [50, "10"], [60, "15"]]),
        ("-30s", [[0, "15"], [10, "15"], [20, "15"], [30, "15"], [40, "10"], [50, "5"]]),
    ):
        assert matrix(server, start_ns, f"sum(count_over_time({web}[30s] offset {offset}))", 10) == {"": found}
    at = start_ns // NS + 3660
    data = ask(server, "query", query=f"sum(count_over_time({web}[60s] offset 1h))", time=at)
    assert [each["value"] for each in data["result"]] == [[at, "30"]]


def test_series_are_told_apart_without_labels(server: "Server", logs: str, start_ns: int) -> None:
    everything = f'{{dataset="{logs}", job=~"api|web"}}'

    def counted(query: str) -> Any:
        return {labels: points[0][1] for labels, points in matrix(server, start_ns, query, 60).items()}

    assert counted(f"sum without (host) (count_over_time({everything}[60s]))") == {"job=api": "30", "job=web": "30"}
    assert counted(f"sum without (host, job) (count_over_time({everything}[60s]))") == {"": "60"}
    assert counted(f"max without (job) (count_over_time({everything}[60s]))") == {"host=h-1": "30", "host=h-2": "30"}
    by_line = f"sum by (level) (sum without (job) (count_over_time({everything} | logfmt [60s])))"
    assert counted(by_line) == {"level=error": "20", "level=info": "40"}
    by_topk = f'sum by (level) (topk(1, count_over_time({everything} | logfmt | level="error" [60s])))'
    assert counted(by_topk) == {"level=error": "10"}
    longest = f'max_over_time({everything} | logfmt | took != "" | unwrap duration(took) [60s]) without (host)'
    assert counted(longest) == {"job=api": "0.058", "job=web": "0.059"}


def test_series_have_the_labels_that_stages_made(server: "Server", logs: str, start_ns: int) -> None:
    web = f'{{dataset="{logs}", job="web"}} | logfmt'

    def counted(query: str) -> Any:
        return {labels: points[0][1] for labels, points in matrix(server, start_ns, query, 60).items()}

    named = f'count_over_time({web} | label_format kind="is {{{{.level}}}}", host=job [60s])'
    assert counted(named) == {"host=web,kind=is error": "10", "host=web,kind=is info": "20"}
    assert counted(f"sum by (kind) ({named})") == {"kind=is error": "10", "kind=is info": "20"}
    assert counted(f"count_over_time({web} | drop host [60s])") == {"job=web": "30"}
    assert counted(f'sum(bytes_over_time({web} | line_format "12{{{{.none}}}}" [60s]))') == {"": "60"}


def test_numbers_are_read_with_their_units(server: "Server", start_ns: int) -> None:
    dataset = server.create("loki-units")
    texts = ["1m30s", "1.5h", "250ms", "24s30ms", "-2s", "7", "soon", ""]
    sizes = ["5 MiB", "3k", "1G", "1,024", "2KB", "1Ki", "-1kB", "many"]
    events = [
        {"_time": start_ns // 1_000_000, "message": f'took="{text}"', "size": size, "n": number}
        for number, (text, size) in enumerate(zip(texts, sizes, strict=True))
    ]
    assert server.ingest(dataset, events).status_code == 200

    def values(stages: str) -> list[float]:
        query = f'max by (n) (max_over_time({{dataset="{dataset}"}} {stages} [60s]))'
        found = matrix(server, start_ns, query, 60)
        return [float(points[0][1]) for _, points in sorted(found.items())]

    took = [90.0, 5400.0, 0.25, 24.03, -2.0]
    assert values("| logfmt | unwrap duration(took)") == took
    assert values("| logfmt | unwrap duration_seconds(took)") == took
    assert values("| unwrap bytes(size)") == [5 * 2**20, 3000.0, 1e9, 1024.0, 2000.0, 1024.0]
    assert values("| label_format took=size | unwrap bytes(took)") == values("| unwrap bytes(size)")
    assert values("| logfmt | took < 1m | unwrap n") == [2, 3, 4, 5]
    assert values("| size > 1MB | unwrap n") == [0, 2]


def test_what_templates_make_of_what_templates_made_has_an_end(server: "Server", logs: str, start_ns: int) -> None:
    grows = "".join('| label_format a="{{.a}}{{.a}}xxxxxxxx"' for _ in range(40))
    whole = f'{{dataset="{logs}", job="web"}}'

    status, text = refusal(server, "query_range", query=whole + grows, start=start_ns, end=start_ns + 60 * NS)
    assert (status, "label_format makes a label a of more than 262144 characters" in text) == (400, True), text
    status = server.client.get(
        "/loki/api/v1/query_range",
        params={"query": f'sum(count_over_time({whole} {grows} | a="x" [60s]))', "start": start_ns, "step": "60"},
    ).status_code
    assert status in (200, 400, 422)


@pytest.mark.parametrize(
    "query",
    [
        "sum by (status) (count_over_time({} | json [60s]))",
        "max by (status) (count_over_time({} | json [60s]) * 1)",
        "count by (status) (max_over_time({} | json | unwrap a_b [60s]))",
    ],
)
def test_numbers_are_grouped_by_what_lines_have(server: "Server", logs: str, start_ns: int, query: str) -> None:
    whole = query.replace("{}", f'{{dataset="{logs}", job="json"}}')

    assert matrix(server, start_ns, whole, 60, end=120) == {"status=503": [[120, "1"]]}


def test_numbers_are_grouped_by_datasets(server: "Server", logs: str, start_ns: int) -> None:
    other = server.create("loki-second")
    server.ingest(other, [{"_time": start_ns // 1_000_000, "message": "one", "job": "web"}])

    for names, found in (([logs], {logs: "30"}), ([logs, other], {logs: "30", other: "1"})):
        query = f'sum by (dataset) (count_over_time({{dataset=~"{"|".join(names)}", job="web"}}[60s]))'
        assert matrix(server, start_ns, query, 60) == {
            f"dataset={name}": [[60, count]] for name, count in found.items()
        }


def test_the_level_that_is_detected_can_be_formatted(server: "Server", start_ns: int) -> None:
    dataset = server.create("loki-levels")
    server.ingest(dataset, [{"_time": start_ns // 1_000_000, "message": "a", "severity": "warn"}])
    stages = '| line_format "is {{.detected_level}}" | label_format x=detected_level'
    query = f'{{dataset="{dataset}"}} {stages}'

    [stream] = ask(server, "query_range", query=query, start=start_ns, end=start_ns + NS)["result"]
    counted = matrix(server, start_ns, f"sum by (x) (count_over_time({query} [60s]))", 60)

    assert (stream["stream"]["x"], stream["values"][0][1]) == ("warn", "is warn")
    assert list(counted) == ["x=warn"]


def test_half_a_character_in_a_line_is_replaced(server: "Server", start_ns: int) -> None:
    dataset = server.create("loki-half")
    server.ingest(dataset, [{"_time": start_ns // 1_000_000, "message": r'{"a":"cut \ud83d"}'}])

    data = ask(server, "query_range", query=f'{{dataset="{dataset}"}} | json', start=start_ns, end=start_ns + NS)

    assert [stream["stream"]["a"] for stream in data["result"]] == ["cut \ufffd"]


def test_a_query_at_one_time(server: "Server", logs: str, start_ns: int) -> None:
    at = start_ns // NS + 60
    data = ask(server, "query", query=f'sum by (job) (count_over_time({{dataset="{logs}"}}[60s]))', time=at)
    assert data["resultType"] == "vector"
    assert [(each["metric"], each["value"]) for each in data["result"]] == [
        ({"job": "api"}, [at, "30"]),
        ({"job": "web"}, [at, "30"]),
    ]
    assert len(texts(ask(server, "query", query=f'{{dataset="{logs}", job="web"}}', time=at))) == 30


def test_labels_their_values_and_streams(server: "Server", logs: str, start_ns: int) -> None:
    within: dict[str, Any] = {"start": start_ns, "end": start_ns + 60 * NS}
    selector = f'{{dataset="{logs}"}}'

    assert ask(server, "labels", query=selector, **within) == ["dataset", "host", "job", "trace"]
    assert ask(server, "labels", {"X-Axiom-Dataset": logs}, **within) == ["dataset", "host", "job", "trace"]
    assert "dataset" in ask(server, "labels", **within)
    assert logs in ask(server, "label/dataset/values", **within)
    assert ask(server, "label/job/values", query=selector, **within) == ["api", "web"]
    assert ask(server, "label/job/values", query=f'{{dataset="{logs}", host="h-2"}}', **within) == ["web"]
    assert ask(server, "label/nothing/values", query=selector, **within) == []
    matched: dict[str, Any] = {"match[]": selector, **within}
    assert sorted(ask(server, "series", **matched), key=str) == [
        {"dataset": logs, "host": "h-1", "job": "api"},
        {"dataset": logs, "host": "h-2", "job": "web"},
    ]
    assert server.client.get("/loki/api/v1/status/buildinfo").json()["version"]
    both = {"match[]": [f'{{dataset="{logs}", job="{job}"}}' for job in ("api", "web")], **within}
    assert len(server.client.post("/loki/api/v1/series", data=both).json()["data"]) == 2
    form = server.client.post("/loki/api/v1/query_range", data={"query": selector, **within, "limit": "2"})
    assert len(texts(form.json()["data"])) == 2


def test_several_datasets_are_one(server: "Server", logs: str, start_ns: int) -> None:
    other = server.create("loki-other")
    assert server.ingest(other, [{"_time": start_ns // 1_000_000, "message": "took=99ms", "n": 1.5}]).status_code == 200
    query = f'{{dataset=~"{logs}|{other}"}} |~ "took=(99|7)ms"'

    data = ask(server, "query_range", query=query, start=start_ns, end=start_ns + 60 * NS)

    assert {
        stream["stream"]["dataset"]: numbers_of([value[1] for value in stream["values"]]) for stream in data["result"]
    } == {
        logs: [7],
        other: [99],
    }


def test_errors_help(server: "Server", logs: str, start_ns: int) -> None:
    def refused(query: str, **more: Any) -> str:
        status, text = refusal(server, "query_range", query=query, **more)
        assert 400 <= status < 500, (status, text)
        return text

    one = f'{{dataset="{logs}"}}'
    long = "9" * 300
    assert refused(f"rate({one}[{long}h])").endswith("the range is longer than 100 years")
    assert ask(server, "query_range", query=one, since=f"{long}y", end="1e300", limit=1)["result"]
    assert refused("{") == "line 1, column 2: the end is not expected, but a label"
    assert refused(f"{one} | pattern `<a>`").startswith(
        f"line 1, column {len(one) + 4}: the stage pattern is not supported"
    )
    assert "count_over_time" in refused(f"absent_over_time({one}[5m])")
    assert "joined by all of their labels" in refused(f"rate({one}[5m]) / on(job) rate({one}[5m])")
    assert "a number is one as vector(0)" in refused(f"rate({one}[5m]) or 0")
    assert "two numbers" in refused("1 + 1")
    assert "at most 100 operators" in refused(f"rate({one}[5m])" + " + 1" * 4000)
    assert "at most 10 ranges" in refused(" + ".join([f"rate({one}[5m])"] * 11))
    assert "needs `| unwrap`" in refused(f"sum_over_time({one}[5m])")
    assert "name the dataset" in refused('{job="api"}')
    assert "takes = with a name" in refused('{dataset!="x"}')
    assert "not found" in refused('{dataset="loki-none"}')
    assert "may be 1 to 5000" in refused(one, limit=10**6)
    assert "at most 11000" in refused(f"rate({one}[5m])", step="1ms")
    assert "is a time" in refused(one, start="yesterday")
    assert "start is after end" in refused(one, start=2, end=1)
    assert "missing" in refused("")
    assert "regular expression" in refused(f'{one} |~ "("')
    assert "simple multiple" in refused(f"rate({one}[100000007ns])", step="3600")
    assert "nested" in refused("(" * 100 + "1")
    assert "longer than 100 years" in refused(f"rate({one}[300y])")
    assert "a share from 0 to 1" in refused(f"quantile_over_time(7, {one} | unwrap n [5m])")


def test_the_beginning_of_1970_is_a_time() -> None:
    assert range_of(ImmutableMultiDict({"start": "0", "end": "7200"})) == (0, 7200 * NS)
    assert range_of(ImmutableMultiDict({"end": "0"})) == (-3600 * NS, 0)


def test_a_token_queries_its_datasets_only(server: "Server", logs: str, start_ns: int) -> None:
    other = server.create("loki-private")
    headers = {"Authorization": f"Bearer {server.api_token(logs, query=True)}"}
    within: dict[str, Any] = {"start": start_ns, "end": start_ns + 60 * NS}

    def status(query: str) -> int:
        answer = server.client.get("/loki/api/v1/query_range", params={"query": query, **within}, headers=headers)
        return answer.status_code

    assert status(f'{{dataset="{logs}"}}') == 200
    assert status('{job="api"}') == 200  # the only one that it may query
    assert status(f'{{dataset="{other}"}}') == 403
    assert status(f'{{dataset=~"{logs}|{other}"}}') == 403
    assert ask(server, "label/dataset/values", headers) == [logs]
    assert server.client.get("/loki/api/v1/labels", headers={"Authorization": "Bearer no"}).status_code == 401


def test_events_without_a_label_or_a_line_are_as_if_they_were_empty(server: "Server", start_ns: int) -> None:
    dataset = server.create("loki-gaps")
    at = start_ns // 1_000_000
    events = [
        {"_time": at, "message": "took=1ms", "code": 200, "ok": True},
        {"_time": at, "message": "took=2ms", "host": "a", "code": "none"},
        {"_time": at, "host": "a"},
    ]
    assert server.ingest(dataset, events).status_code == 200

    def count(query: str) -> int:
        data = ask(server, "query_range", query=f'{{dataset="{dataset}", {query}', start=start_ns, end=start_ns + NS)
        return len(texts(data))

    assert [count(query) for query in ('host!="a"}', 'host=""}', 'host="a"}', 'host!~"a"}', 'host=~".*"}')] == [
        1,
        1,
        2,
        1,
        3,
    ]
    assert [count(query) for query in ('code="200"}', 'code="none"}', 'code=""}', 'ok="true"}', 'ok!="true"}')] == [
        1,
        1,
        1,
        1,
        2,
    ]
    assert [count(query) for query in ('} |= "took"', '} != "took"', '} !~ "took"', '} |= ""')] == [2, 1, 1, 3]
