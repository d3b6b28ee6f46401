"""ADBC's driver for Flight SQL, unmodified, against a server: rows, columns, what there is, refusals."""

import io
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adbc_driver_manager
import pyarrow as pa
import pytest
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_flightsql.dbapi import connect
from conftest import Server as ServerProcess
from pyarrow.flight import FlightCallOptions, FlightDescriptor, FlightUnauthenticatedError
from pyarrow.flight import connect as connect_flight
from support.fleet_servers import ServerFleet
from support.ports import HOST, free_port
from support.s3 import Proxy, S3Server
from support.tls import needs_openssl, self_signed
from support.waiting import wait_until

from tailrace.server.flight_sql.messages import COMMANDS, SQL, encoded, wrapped
from tailrace.server.flight_sql.metadata import FEW_TABLES
from tailrace.server.flight_sql.service import ACTIONS

if TYPE_CHECKING:
    from conftest import MakeServer, Server

ENDLESS = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
ROWS: list[dict[str, Any]] = [
    {"n": 1, "text": 'a,"b', "many": 1, "list": [1], "part": 0.5, "yes": True},
    {"n": 2, "text": "\u20ac", "many": "x", "part": 1.5, "yes": False},
]
PAGE = Path(__file__).parents[2] / "docs" / "sql-flight.md"
NOT_RUN = "<!-- not run by the tests -->\n"
Refused = adbc_driver_manager.Error


@pytest.fixture(scope="module")
def flight(process: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Server"]:
    """Yield a server with the port, and with datasets: logs, other-logs and a_b, and a view of logs."""
    options = (f"--flight-sql-port={free_port()}",)
    running = ServerProcess(tmp_path_factory.mktemp("flight") / "data", options, is_forked=True).start()
    try:
        for dataset in ("logs", "other-logs", "a_b"):
            running.create(dataset)
        running.ingest("logs", ROWS)
        view = {"name": "seen", "aplQuery": "logs | where n > 1 | project n, text", "datasets": ["logs"]}
        answer = running.client.post("/v2/views", json=view)
        assert answer.status_code == 200, answer.text
        yield running
    finally:
        assert running.stop() == 0, running.errors.read_text()


def port_of(server: "Server") -> int:
    return int(next(option.partition("=")[2] for option in server.options if option.startswith("--flight-sql-port")))


def connected(server: "Server", token: str = "", **options: str) -> Any:
    """Return a connection with a token, the owner's for none."""
    header = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token or server.token}"}
    return connect(f"grpc://{HOST}:{port_of(server)}", db_kwargs={**header, **options}, autocommit=True)


def table_of(server: "Server", sql: str, token: str = "") -> pa.Table:
    with connected(server, token) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetch_arrow_table()


def over_http(server: "Server", sql: str) -> pa.Table:
    headers = {"Accept": "application/vnd.apache.arrow.stream"}
    answer = server.client.post("/tailrace/v1/sql", json={"sql": sql}, headers=headers)
    with pa.ipc.open_stream(io.BytesIO(answer.content)) as reader:
        return reader.read_all()


def test_the_banner_says_where_it_listens(flight: "Server") -> None:
    assert any(f"flight sql {HOST}:{port_of(flight)}" in line for line in flight.banner)


def test_rows_come_as_over_http(flight: "Server") -> None:
    for sql in ("SELECT * FROM logs ORDER BY n", "SELECT many FROM logs WHERE false", "SHOW TABLES", "DESCRIBE logs"):
        table = table_of(flight, sql)
        assert table.equals(over_http(flight, sql), check_metadata=True), sql
    assert table_of(flight, "SELECT n, text FROM tailrace.main.seen").to_pylist() == [{"n": 2, "text": "\u20ac"}]


def test_what_was_acknowledged_is_in_the_next_answer(flight: "Server") -> None:
    flight.create("counted")
    with connected(flight) as connection, connection.cursor() as cursor:
        for number in range(3):
            flight.ingest("counted", [{f"field-{number}": number}])
            # Prepared once; the columns are those of the moment.
            cursor.execute("SELECT * FROM counted")
            assert len(cursor.fetch_arrow_table()) == number + 1
    flight.client.delete("/v2/datasets/counted")


def test_a_statement_may_be_asked_without_being_prepared(flight: "Server") -> None:
    with connected(flight) as connection, adbc_driver_manager.AdbcStatement(connection.adbc_connection) as statement:
        statement.set_sql_query("SELECT n FROM logs ORDER BY n")
        rows, _ = statement.execute_query()
        assert [batch.to_pylist() for batch in pa.RecordBatchReader._import_from_c(rows.address)] == [
            [{"n": 1}, {"n": 2}]
        ]
        statement.set_sql_query("SELECT many, n FROM logs")
        handle = statement.execute_schema()
        schema = pa.Schema._import_from_c(handle.address)
        assert schema.equals(over_http(flight, "SELECT many, n FROM logs").schema, check_metadata=True)


def test_a_large_answer_comes_in_parts(flight: "Server") -> None:
    with connected(flight) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT i, lpad('', 1000, 'x') AS text FROM range(50000) t(i)")
        batches = list(cursor.fetch_record_batch())
    assert max(batch.nbytes for batch in batches) <= 1024 * 1024
    assert [value for batch in batches for value in batch["i"].to_pylist()] == list(range(50_000))


def test_a_user_and_a_password_are_a_token(flight: "Server") -> None:
    url = f"grpc://{HOST}:{port_of(flight)}"
    pair = {"username": "token", "password": flight.token}
    with connect(url, db_kwargs=pair, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetchall() == [(1,)]
    with pytest.raises(Refused, match=r"UNAUTHENTICATED.*the token is not valid"):
        connect(url, db_kwargs={**pair, "password": "xapt-other"}, autocommit=True)


def test_a_token_reads_only_what_it_may_query(flight: "Server") -> None:
    token = flight.api_token("logs", query=True)

    assert table_of(flight, "SELECT count(*) AS c FROM logs", token).to_pylist() == [{"c": 2}]
    with pytest.raises(Refused, match=r"UNAUTHORIZED.*query:read"):
        table_of(flight, 'SELECT * FROM "other-logs"', token)
    with pytest.raises(Refused, match=r"UNAUTHORIZED.*query:read"):
        table_of(flight, "SELECT * FROM logs", flight.api_token("logs"))
    with pytest.raises(Refused, match=r"UNAUTHENTICATED.*the token is not valid"):
        table_of(flight, "SELECT 1", "xaat-none")
    connection = connect(f"grpc://{HOST}:{port_of(flight)}", autocommit=True)
    with connection, connection.cursor() as cursor, pytest.raises(Refused, match=r"UNAUTHENTICATED.*no token"):
        cursor.execute("SELECT 1")


def test_a_ticket_of_one_token_is_worth_nothing_to_another(flight: "Server") -> None:
    with connected(flight) as own, own.cursor() as cursor:
        parts, _ = cursor.adbc_execute_partitions("SELECT * FROM logs")
    other = connected(flight, flight.api_token("other-logs", query=True))
    with other, other.cursor() as cursor, pytest.raises(Refused, match="UNAUTHORIZED"):
        cursor.adbc_read_partition(parts[0])
    with connected(flight, flight.api_token("logs", query=True)) as other, other.cursor() as cursor:
        cursor.adbc_read_partition(parts[0])
        assert cursor.fetch_arrow_table().num_rows == len(ROWS)


def test_arrows_own_client_for_flight_reads_too(flight: "Server") -> None:
    with connect_flight((HOST, port_of(flight))) as client:
        options = FlightCallOptions(headers=[client.authenticate_basic_token("token", flight.token)])
        command = wrapped("CommandStatementQuery", query=b"SELECT n, many FROM logs ORDER BY n")
        info = client.get_flight_info(FlightDescriptor.for_command(command), options)
        table = client.do_get(info.endpoints[0].ticket, options).read_all()
        assert info.schema.equals(table.schema, check_metadata=True)
        assert table["n"].to_pylist() == [1, 2]
        assert {action.type for action in client.list_actions(options)} == set(ACTIONS)
        with pytest.raises(FlightUnauthenticatedError, match="no token"):
            client.get_flight_info(FlightDescriptor.for_command(command))
        with pytest.raises(FlightUnauthenticatedError, match="the token is not valid"):
            client.authenticate_basic_token("token", "xapt-other")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELEC 1", "INVALID_ARGUMENT.*did you mean SELECT"),
        ("SELECT nothing FROM logs", "INVALID_ARGUMENT.*nothing"),
        ("SELECT error('at a row') FROM logs", "INVALID_ARGUMENT.*at a row"),
        ("SELECT * FROM missing", "NOT_FOUND.*'missing'"),
        ("INSERT INTO logs VALUES (1)", "INVALID_ARGUMENT.*only SELECT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "INVALID_ARGUMENT.*read_csv"),
        ("SELECT n FROM logs WHERE n = ?", "INVALID_ARGUMENT.*write the values into the SQL"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(flight: "Server", sql: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        table_of(flight, sql)


def test_nothing_is_written_or_bound(flight: "Server") -> None:
    with connected(flight) as connection, connection.cursor() as cursor:
        with pytest.raises(Refused, match="write the values into the SQL"):
            cursor.execute("SELECT 1", (1,))
        with pytest.raises(Refused, match="SQL only reads here"):
            cursor.adbc_ingest("logs", pa.table({"n": [1]}), mode="append")
        with pytest.raises(Refused, match=r"transaction|not supported"):
            connection.adbc_connection.set_autocommit(False)


def test_what_there_is_is_told(flight: "Server") -> None:
    with connected(flight) as connection:
        info = connection.adbc_get_info()
        assert (info["vendor_name"], info["vendor_version"].count(".")) == ("Tailrace", 2)
        assert connection.adbc_get_table_types() == ["TABLE", "VIEW"]
        names = {table["table_name"]: table["table_type"] for table in tables(connection, depth="tables")}
        assert names.items() >= {"a_b": "TABLE", "logs": "TABLE", "other-logs": "TABLE", "seen": "VIEW"}.items()
        found = tables(connection, table_name_filter="%logs", table_types_filter=["TABLE"])
        assert {table["table_name"] for table in found} == {"logs", "other-logs"}
        columns = [column["column_name"] for column in found[0]["table_columns"]]
        assert columns == ["_time", "_sysTime", "_rest", *over_http(flight, "SELECT * FROM logs").column_names[3:]]
        [seen] = tables(connection, table_name_filter="seen")
        assert [column["column_name"] for column in seen["table_columns"]] == ["n", "text"]
        assert tables(connection, table_types_filter=["VIEW"], table_name_filter="l%") == []
        assert tables(connection, db_schema_filter="other") == []
        assert tables(connection, catalog_filter="other") == []
    with connected(flight, flight.api_token("a_b", query=True)) as connection:
        assert [table["table_name"] for table in tables(connection)] == ["a_b"]


def tables(connection: Any, **filters: Any) -> list[dict[str, Any]]:
    """Return the tables that the catalogs and schemas hold."""
    found = connection.adbc_get_objects(**{"depth": "all", **filters}).read_all().to_pylist()
    schemas = [schema for catalog in found for schema in catalog["catalog_db_schemas"] or ()]
    return [table for schema in schemas for table in schema["db_schema_tables"] or ()]


def test_the_columns_of_a_table_are_those_of_its_rows(flight: "Server") -> None:
    with connected(flight) as connection:
        for name in ("logs", "seen", "a_b"):
            schema = connection.adbc_get_table_schema(name)
            assert schema.equals(over_http(flight, f"SELECT * FROM {name}").schema, check_metadata=True), name
        with pytest.raises(Refused, match="NOT_FOUND"):
            connection.adbc_get_table_schema("missing")
    # Of many tables at once they are made of what information_schema tells.
    with connect_flight((HOST, port_of(flight))) as client:
        options = FlightCallOptions(headers=[(b"authorization", f"Bearer {flight.token}".encode())])
        asked = SQL["CommandGetTables"](include_schema=1).SerializeToString()
        command = encoded("Any", type_url=f"{COMMANDS}CommandGetTables".encode(), value=asked)
        info = client.get_flight_info(FlightDescriptor.for_command(command), options)
        rows = client.do_get(info.endpoints[0].ticket, options).read_all().to_pylist()
    assert len(rows) > FEW_TABLES
    for row in rows:
        schema = over_http(flight, f'SELECT * FROM "{row["table_name"]}"').schema
        assert pa.ipc.read_schema(pa.py_buffer(row["table_schema"])).equals(schema, check_metadata=True)


def test_two_clients_ask_at_once(flight: "Server") -> None:
    found: list[int] = []

    def ask() -> None:
        with connected(flight) as connection, connection.cursor() as cursor:
            for _ in range(5):
                cursor.execute("SELECT sum(i)::BIGINT AS s FROM range(100000) t(i)")
                found.append(cursor.fetchone()[0])

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [4999950000] * 10


def running_queries(server: "Server") -> int:
    figures = server.client.get("/metrics").text
    return int(float(re.findall(r'^tailrace_queries\{state="running"\} (\S+)', figures, re.MULTILINE)[0]))


def test_a_query_stops_when_its_client_cancels(flight: "Server") -> None:
    refused: list[Refused] = []

    def ask() -> None:
        try:
            cursor.execute(ENDLESS)
        except Refused as error:
            refused.append(error)

    with connected(flight) as connection, connection.cursor() as cursor:
        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: running_queries(flight) == 1)
        cursor.adbc_cancel()
        asking.join()
        wait_until(lambda: running_queries(flight) == 0)
    assert "CANCELLED" in str(refused[0])


SNIPPETS = re.findall(rf"({re.escape(NOT_RUN)})?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("code", [code for not_run, code in SNIPPETS if not not_run])
def test_the_programs_of_the_page_run_as_printed(
    flight: "Server", code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKEN", flight.token)
    flight.ingest("demo", [{"level": "error"}, {"level": "info"}])
    exec(code.replace("127.0.0.1:8081", f"{HOST}:{port_of(flight)}"), {})
    assert "level" in capsys.readouterr().out


@needs_openssl
@pytest.mark.slow
def test_a_certificate_makes_it_tls(make_server: "MakeServer", tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    port = free_port()
    secured = make_server(f"--flight-sql-port={port}", f"--tls-certificate={certificate}", f"--tls-key={key}")
    secured.launch_unready()
    options = {
        DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {secured.token}",
        DatabaseOptions.TLS_ROOT_CERTS.value: certificate.read_text(),
    }
    connection = connect(f"grpc+tls://localhost:{port}", db_kwargs=options, autocommit=True)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetchall() == [(1,)]
    with pytest.raises(Refused):
        table_of(secured, "SELECT 1")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_node_of_a_fleet_answers(
    make_server: "MakeServer", s3: S3Server, proxy: Proxy, postgres_url: str
) -> None:
    fleet = ServerFleet(make_server, s3, postgres_url)
    fleet.start(lake=1)
    fleet.start(f"--flight-sql-port={free_port()}", ingest=1)
    fleet.start(f"--flight-sql-port={free_port()}", query=1)
    first = fleet.nodes["lake-0"]
    first.create("logs")
    first.ingest("logs", ROWS)
    for name in ("ingest-0", "query-0"):
        node = fleet.nodes[name]
        assert table_of(node, "SELECT n FROM logs ORDER BY n").to_pylist() == [{"n": 1}, {"n": 2}]
        with connected(node) as connection:
            assert "logs" in {table["table_name"] for table in tables(connection)}
        with pytest.raises(Refused, match="UNAUTHENTICATED"):
            table_of(node, "SELECT 1", "xaat-none")
