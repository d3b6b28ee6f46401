"""The recorders of a node's applications, which follow its settings as these are read again."""

from weakref import WeakSet

from tailrace.server.asgi import Application
from tailrace.server.forwarded import Proxies
from tailrace.server.metrics import Metrics
from tailrace.server.recorder import Recorder, Refusals, RequestLog
from tailrace.server.settings import ServerSettings


class NodeRecorders:
    """Makes recorders, also while the node runs: whenever it begins to lead. To be used on the event loop."""

    def __init__(self, settings: ServerSettings, metrics: Metrics, refusals: Refusals) -> None:
        self._metrics = metrics
        self._refusals = refusals
        self._request_log: RequestLog = settings.request_log
        self._proxies = Proxies(settings.trusted_proxies)
        self._made: WeakSet[Recorder] = WeakSet()

    def make(self, application: Application) -> Recorder:
        """Return a recorder around an application."""
        recorder = Recorder(
            application,
            metrics=self._metrics,
            refusals=self._refusals,
            proxies=self._proxies,
            request_log=self._request_log,
        )
        self._made.add(recorder)
        return recorder

    def reconfigure(self, request_log: RequestLog, proxies: Proxies) -> None:
        """Log other requests, and trust other proxies, from now on."""
        self._request_log, self._proxies = request_log, proxies
        for recorder in self._made:
            recorder.reconfigure(request_log, proxies)
