"""The code of Datamix's document, as printed, in a page with jQuery, unmodified: its logs come back."""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import pytest
from support.node import needs_node, run_program

if TYPE_CHECKING:
    from conftest import Server

DESTINATION = "jquery.page.test"

pytestmark = needs_node

# As printed: `data` is set but not passed, and the callback reads what it is given.
CREATE_SESSION = """
//jQuery example
data = { "key": "<your_api_key>" }

$.post("/sessions", function(data, status) {
  let system = data["system"] // The target system
  let application = data["application"] // The target application
  let environment = data["environment"] // The target environment

  let token = data['token'] // The new session token
  // The expires value is returned as an integer (milliseconds)
  let session_expires = new Date(data['expires'])
});
"""

SEND_LOGS = """
//jQuery example
var log_data = {
  "session": session_token,
  "messages": [
    {
      "level": "info",
      "timestamp": new Date().now(),
      "message": "This is a simple info message"
    },
    {
      "level": "warn",
      "timestamp": new Date().now(),
      "message": "This is a simple warning message"
    }
  ]
}

destination = system + "." + application + "." + environment

var callback = function(data, status) {
  let system = data["system"] // The target system
  let application = data["application"] // The target application
  let environment = data["environment"] // The target environment

  let processed = data["processed"] // The number of processed logs (e.g. 2)
  let rejected = data["rejected"] // Data about any rejected logs

  for(var i = 0; i < rejected.length; i++) {
    var index = rejected[i]["index"] // The index of the rejected log
    var message = rejected[i]["message"] // The reason for the rejection.
  }

  // There are better ways to do this, but if you have more logs:
  next_logs = get_next_logs() // implemented elsewhere ...
  // Note the session will have changed, you must use the new token
  next_logs["session"] = data["session"]
  $.post("/destinations/" + destination + "/logs", next_logs, callback);
}

$.post("/destinations/" + destination + "/logs", log_data, callback);
"""

# What the document's code takes from elsewhere. Its `new Date().now()` is no function of any browser.
ELSEWHERE = """
Date.prototype.now = function () { return Date.now(); };
var session_token = %(token)s, system = %(system)s, application = %(application)s, environment = %(environment)s;
var batches = %(batches)s;
var get_next_logs = function () {
  if (batches.length) {
    return { messages: batches.shift().map(function (log) {
      return Object.assign({ timestamp: Date.now() }, log);
    }) };
  }
  $.post = function () {};
  done();
  return {};
};
"""

END_ON_ERROR = "$(document).ajaxError(function () { done(); });"


@pytest.fixture(scope="module")
def key(server: "Server") -> str:
    wanted = {"protocol": "datamix", "name": "test", "destination": DESTINATION}
    made: str = server.client.post("/tailrace/v1/keys", json=wanted).json()["key"]
    return made


def run(page: str, code: str, prelude: str = "") -> dict[str, Any]:
    """Return what happened in the page."""
    happened: dict[str, Any] = run_program(
        "datamix.mjs", {"page": page, "code": code, "prelude": prelude}, timeout_s=90
    )
    return happened


def session(server: "Server", key: str) -> dict[str, Any]:
    """Return a session as the page's own server would ask for it."""
    started: dict[str, Any] = server.client.post("/sessions", json={"key": key}).json()
    return started


def elsewhere(started: dict[str, Any], batches: list[list[dict[str, Any]]]) -> str:
    values = {name: json.dumps(started[name]) for name in ("token", "system", "application", "environment")}
    return ELSEWHERE % {**values, "batches": json.dumps(batches)}


def stored(server: "Server", token: str) -> list[tuple[str, str]]:
    """Return level and message of what was stored after all, of the session whose last message is `token`."""
    rows = server.sql(
        f"""SELECT level, message FROM "{DESTINATION}"
        WHERE session IN (SELECT session FROM "{DESTINATION}" WHERE message = '{token}') ORDER BY _sysTime, _time"""
    )
    return [(row["level"], row["message"]) for row in rows]


def test_the_code_for_logs_as_printed(server: "Server", key: str) -> None:
    batches = [
        [{"level": "error", "message": "é & + % = [0]"}, {"level": "loud", "message": "no"}],
        [{"level": "debug", "message": "last of as printed"}],
    ]

    happened = run(server.url, SEND_LOGS, elsewhere(session(server, key), batches))

    assert happened["errors"] == []
    answers = happened["answers"]
    assert [answer["status"] for answer in answers] == [200, 200, 200]
    assert {answer["type"] for answer in answers} == {"application/x-www-form-urlencoded; charset=UTF-8"}
    assert "messages[0][level]=info&" in unquote_plus(answers[0]["sent"])
    assert [answer["body"]["processed"] for answer in answers] == [2, 1, 1]
    rejected = [{"index": "1", "message": "Invalid log level: loud"}]
    assert [answer["body"]["rejected"] for answer in answers] == [[], rejected, []]
    assert len({answer["body"]["session"] for answer in answers}) == 3
    assert sorted(stored(server, "last of as printed")) == sorted(
        [
            ("info", "This is a simple info message"),
            ("warn", "This is a simple warning message"),
            ("error", "é & + % = [0]"),
            ("debug", "last of as printed"),
        ]
    )


def test_the_code_for_a_session_as_printed_sends_no_key_and_is_refused(server: "Server") -> None:
    (answer,) = run(server.url, CREATE_SESSION, END_ON_ERROR)["answers"]

    assert (answer["status"], answer["body"]["error"]) == (403, "invalid_key")


def test_the_code_for_a_session_with_its_data_passed(server: "Server", key: str) -> None:
    code = CREATE_SESSION.replace("<your_api_key>", key).replace('"/sessions", f', '"/sessions", data, f')
    code = code.replace(
        "\n});", "\n  report(system, application, environment, token, session_expires - Date.now());done()\n});"
    )

    happened = run(server.url, code)

    ((system, application, environment, token, left_ms),) = happened["reported"]
    assert f"{system}.{application}.{environment}" == DESTINATION
    assert 3_500_000 < left_ms <= 3_600_000
    assert happened["answers"][0]["sent"] == f"key={key}"
    answer = server.client.post(f"/destinations/{DESTINATION}/logs", json={"session": token, "messages": []})
    assert answer.status_code == 200


def to_server(url: str) -> str:
    """Make the page's requests go to the server, which is of another origin."""
    return f"$.ajaxPrefilter(function (options) {{ options.url = {json.dumps(url)} + options.url; }});"


def test_a_page_of_another_origin_sends_logs(server: "Server", key: str) -> None:
    prelude = elsewhere(session(server, key), [[{"level": "fatal", "message": "last of another origin"}]])

    happened = run("http://shop.example/", SEND_LOGS, prelude + to_server(server.url))

    assert happened["errors"] == []
    assert [answer["status"] for answer in happened["answers"]] == [200, 200]
    assert stored(server, "last of another origin")[-1] == ("fatal", "last of another origin")


def test_a_page_of_another_origin_sends_logs_as_json_after_a_preflight(server: "Server", key: str) -> None:
    code = """
    $.ajax("/destinations/" + [system, application, environment].join(".") + "/logs", {
      method: "POST", contentType: "application/json", complete: function () { done(); },
      data: JSON.stringify({ session: session_token, messages: [
        { level: "info", timestamp: Date.now(), message: "last after a preflight" } ] })
    });
    """

    happened = run("http://shop.example/", code, elsewhere(session(server, key), []) + to_server(server.url))

    assert [answer["body"]["processed"] for answer in happened["answers"]] == [1], happened
    assert stored(server, "last after a preflight") == [("info", "last after a preflight")]


def test_a_page_of_another_origin_cannot_read_a_session(server: "Server", key: str) -> None:
    code = CREATE_SESSION.replace("<your_api_key>", key).replace('"/sessions", f', '"/sessions", data, f')

    happened = run("http://shop.example/", code, END_ON_ERROR + to_server(server.url))

    ((status, body),) = [(answer["status"], answer["body"]) for answer in happened["answers"]]
    assert (status, body) == (0, None)
    assert any("Access-Control-Allow-Origin" in error or "Cross origin" in error for error in happened["errors"])


def test_an_empty_list_of_messages_is_taken_as_jquery_sends_it(server: "Server", key: str) -> None:
    code = """
    $.post("/destinations/" + [system, application, environment].join(".") + "/logs",
           { session: session_token, messages: [] }).always(function () { done(); });
    """

    (answer,) = run(server.url, code, elsewhere(session(server, key), []))["answers"]

    assert answer["sent"].startswith("session=")
    assert "messages" not in answer["sent"]
    assert (answer["status"], answer["body"]["processed"], answer["body"]["rejected"]) == (200, 0, [])
