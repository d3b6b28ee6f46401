"""A WSGI application behind Moesif's middleware: answers three requests, and waits until the events are sent."""

import json
import sys
import threading
import urllib.error
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, make_server

from moesifwsgi import MoesifMiddleware


def app(environ, start_response):  # type: ignore[no-untyped-def]
    if environ["PATH_INFO"] == "/missing":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"nothing here"]
    size = int(environ.get("CONTENT_LENGTH") or 0)
    sent = environ["wsgi.input"].read(size)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"ok": True, "received": len(sent)}).encode()]


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def main(url: str, key: str) -> None:
    middleware = MoesifMiddleware(
        app,
        {
            "APPLICATION_ID": key,
            "BASE_URI": url,
            "EVENT_BATCH_TIMEOUT": 1,
            "IDENTIFY_USER": lambda app, environ, response_headers={}: "u1",
        },
    )
    server = make_server("127.0.0.1", 0, middleware, handler_class=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(f"{base}/hello?page=2").read()
    body = urllib.request.Request(f"{base}/things", b'{"a": 1}', {"Content-Type": "application/json"}, method="POST")
    opener.open(body).read()
    try:
        opener.open(f"{base}/missing").read()
    except urllib.error.HTTPError as error:
        print(error.code)
    server.shutdown()
    middleware.worker_pool.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
