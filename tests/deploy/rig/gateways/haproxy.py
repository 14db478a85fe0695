"""HAProxy with the shipped `haproxy.cfg`, its TLS line switched on, and the Lua action that it loads."""

from __future__ import annotations

import re
from pathlib import Path

from ..files import copied
from .gateway import Gateway

CERTIFICATE = Path(__file__).with_suffix(".pem")


class Haproxy(Gateway):
    """Plain on `port`, encrypted on `other_port`; both begin with HTTP/1.1 or HTTP/2."""

    name = needs = "haproxy"
    service_down = (503, 504)

    def command(self) -> list[str | Path]:
        # Two HAProxys on one machine need two names for a socket that lies in no folder.
        socket = {"abns@forwardauth": f"abns@forwardauth-{self.port}"}
        action = copied("haproxy/forwardauth.lua", self.folder, socket)
        config = copied(
            "haproxy/haproxy.cfg",
            self.folder,
            {
                **socket,
                r"/usr/local/etc/haproxy/forwardauth\.lua": str(action),
                r"bind :80\b": f"bind 127.0.0.1:{self.port}",
                r"# bind :443 ssl crt \S+": f"bind 127.0.0.1:{self.other_port} ssl crt {CERTIFICATE}",
                r"\bforwardauth:9000\b": f"127.0.0.1:{self.service_port}",
                r"\bllm:8000\b": f"127.0.0.1:{self.backend_port}",
                re.escape("llm.example.com"): " ".join(self.hosts),
            },
        )
        return [self.executable, "-db", "-f", config]
