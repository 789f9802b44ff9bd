"""Serves the page of a run that is going on, to this machine alone."""

from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOST = "127.0.0.1"
REFRESH_SECONDS = 30


def server(make: Callable[[], str], port: int) -> ThreadingHTTPServer:
    """A server of one page on the loopback address, made anew for each request.

    The browser asks again every `REFRESH_SECONDS`. Requests under another host name are refused:
    they come from pages of other sites.

    Args:
        make: the HTML.
        port: 0 for any that is free; `server_port` tells.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers.get("Host", "").rpartition(":")[0]
            if host not in (HOST, "localhost"):
                self.send_error(HTTPStatus.FORBIDDEN, "ask under 127.0.0.1")
                return
            if self.path != "/":
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            try:
                body = make().encode()
            except Exception as error:
                self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).splitlines()[0])
                return
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("Refresh", str(REFRESH_SECONDS))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is printed for each request."""

    return ThreadingHTTPServer((HOST, port), Handler)
