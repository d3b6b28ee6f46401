"""The application of the protocol where the library is missing, and when it is there again."""

import asyncio
import sys

import pytest

from tailrace.agents import AgentApplication, AgentsNotInstalled
from tailrace.agents.application import Receive, Scope, Send


async def no_api(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer nothing: no tool is called."""


def test_without_the_library_an_error_names_it_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def start() -> None:
        application = AgentApplication(no_api)
        with monkeypatch.context() as patched:
            for name in [name for name in sys.modules if name.startswith("tailrace.agents.server")]:
                patched.delitem(sys.modules, name)
            patched.setitem(sys.modules, "mcp.server.mcpserver", None)
            with pytest.raises(AgentsNotInstalled, match=r"pip install tailrace\[mcp\]") as refused:
                await application.started()
            assert refused.value.status == 501
        first, second = await asyncio.gather(application.started(), application.started())
        assert first == second

    asyncio.run(start())
