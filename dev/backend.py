"""A stand-in for an LLM server, OpenAI's way, for the demonstration: it repeats which identity reached it.

python dev/backend.py PORT
"""

from __future__ import annotations

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKENS = ["Hello", " from", " behind", " the", " gateway", "."]
CREDENTIALS = ("Authorization", "X-API-Token", "X-API-Key", "Cookie")


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # what streams needs chunks

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/health":
            self.answer({"status": "ok"})
        elif path.endswith("/v1/models"):
            self.answer({"object": "list", "data": [{"id": "demo", "object": "model"}]})
        else:
            self.answer(self.received())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            request = json.loads(body or b"{}")
        except ValueError:
            self.answer({"error": {"message": "The body is no JSON."}}, status=400)
            return
        if request.get("stream"):
            self.stream()
        else:
            message = {"role": "assistant", "content": "".join(TOKENS)}
            self.answer(self.received() | {"choices": [{"index": 0, "message": message}]})

    def received(self) -> dict[str, Any]:
        """What the gateway let through: the identity as headers, and no credential."""
        return {
            "identity": {k: v for k, v in self.headers.items() if k.lower().startswith("x-auth-")},
            "credentials": [name for name in CREDENTIALS if name in self.headers],
        }

    def answer(self, content: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(content).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for token in TOKENS:
            self.event(json.dumps({"choices": [{"delta": {"content": token}}]}))
            time.sleep(0.15)  # slow enough to see that nothing on the way collects the answer
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, data: str) -> None:
        line = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Backend).serve_forever()
