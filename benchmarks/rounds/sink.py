# SPDX-License-Identifier: MIT
"""A server on this machine that takes every profile an agent pushes, so that none waits for one that is not there.

Who asks it gets the last one, and then there is none.
"""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import List


class Sink:
    """Listens on a port of its own, in a thread that ends with the process."""

    def __init__(self) -> None:
        received: List[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                received[:] = [gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                body = received[-1] if received else b""
                received.clear()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
