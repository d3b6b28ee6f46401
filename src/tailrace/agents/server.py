"""The server of the Model Context Protocol over the tools."""

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from importlib.metadata import version
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools import Tool
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import CallToolResult, TextContent, ToolAnnotations

from tailrace.agents import catalogue, operations, queries, traces
from tailrace.agents.calls import Connect

INSTRUCTIONS = """\
Tailrace keeps events (logs, spans, anything as JSON) in datasets. To answer a question: list_datasets, then \
describe_dataset of the likely one for its fields and values, then query. find_patterns shows which kinds of \
messages there are, count_over_time when something began. Prefer queries that aggregate (summarize … by …) over \
fetching events. Times are RFC 3339 or relative (now-1h); most tools look at the last hour unless told otherwise. \
Answers are small, and their notes say what is left out of them and how to get it. What an error says about a query \
is exact: correct the query by it, or ask apl_help."""

TOOLS = (
    catalogue.list_datasets,
    catalogue.describe_dataset,
    catalogue.apl_help,
    queries.query_apl,
    queries.query_sql,
    queries.count_over_time,
    queries.find_patterns,
    traces.find_traces,
    traces.get_trace,
    operations.list_saved_queries,
    operations.list_dashboards,
    operations.list_monitors,
    operations.monitor_history,
    operations.list_annotations,
)
READS_ONLY = ToolAnnotations(read_only_hint=True, open_world_hint=False)


def agent_server(connect: Connect) -> MCPServer[Connect]:
    """Return the server, whose tools ask the API by what `connect` returns for the headers of a request."""

    @asynccontextmanager
    async def lifespan(server: MCPServer[Connect]) -> AsyncIterator[Connect]:
        yield connect

    return MCPServer(
        "tailrace",
        title="Tailrace",
        instructions=INSTRUCTIONS,
        version=version("tailrace"),
        tools=[Tool.from_function(_compact(tool), annotations=READS_ONLY) for tool in TOOLS],
        lifespan=lifespan,
        subscriptions=False,
    )


def session_manager(connect: Connect) -> StreamableHTTPSessionManager:
    """Return what answers HTTP requests while it runs; none has a session, so any of several processes may."""
    server = agent_server(connect)
    # A page of another origin has no token, so the names of hosts need no check here.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    server.streamable_http_app(json_response=True, stateless_http=True, transport_security=security)
    return server.session_manager


def _compact(tool: Callable[..., Awaitable[dict[str, Any]]]) -> Callable[..., Awaitable[CallToolResult]]:
    """Return a tool whose answer is JSON without the white space that the library adds, which agents pay for."""

    @wraps(tool)
    async def call(*arguments: Any, **named: Any) -> CallToolResult:
        answer = await tool(*arguments, **named)
        text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
        return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=answer)

    call.__annotations__ = {**tool.__annotations__, "return": CallToolResult}
    signature = inspect.signature(tool, eval_str=True)
    call.__signature__ = signature.replace(return_annotation=CallToolResult)  # type: ignore[attr-defined]
    return call
