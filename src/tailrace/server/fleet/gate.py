"""What a node's requests meet first: what another node says of them is believed, what a client forges is dropped."""

from tailrace.server.asgi import Application, Receive, Scope, Send
from tailrace.server.fleet.proof import HEADER, ForwardingProof

HOPS = "tailrace.hops"  # of a scope: how often the request was forwarded


class NodeGate:
    """Passes requests to an application, with the client's address and scheme where a node says them."""

    def __init__(self, application: Application, proof: ForwardingProof) -> None:
        self._application = application
        self._proof = proof

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers = scope["headers"]
        if any(name == HEADER for name, _ in headers):
            said = self._proof.check(scope)
            scope["headers"] = [(name, value) for name, value in headers if name != HEADER]
            if said is not None:
                scope["client"] = (said.address, said.port)
                scope["scheme"] = said.scheme
                scope[HOPS] = said.hops
        await self._application(scope, receive, send)
