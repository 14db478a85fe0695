"""What is measured: three auth servers, alone on their core or behind a real gateway that has a core to itself."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.wrk import Shape
from dev.programs import ROOT, Program, free_ports, installed, shipped, started, traefik_binary, until_ready

TOKENS = 1000
PATHS: dict[Shape, str] = {"subrequest": "/verify/traefik", "client": "/v1/chat/completions"}

# Everything that guards a real deployment is on; only the rates are out of reach of the load.
CONFIG = """\
server:
  listen: 127.0.0.1:{port}
  admin: 127.0.0.1:{admin}
  gateways: [traefik, nginx]

authenticators:
  staff: {{basic: {{htpasswd: users.htpasswd}}}}
  ci:
    token:
      from: [{{header: X-API-Token}}]
      rate: 1000000/s burst 1000000
      tokens:
{tokens}

routes:
  - {{name: health, path: /health, public: true}}
  - {{name: people, path: /people/*, require: {{any: [staff, ci]}}}}
  - {{name: api, path: /*, require: ci}}

lockout: {{max_failed_attempts: 5}}
audit: {{path: {audit}}}
"""

NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/{name}.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/{name}.body;
    proxy_temp_path {folder}/{name}.proxy;
    fastcgi_temp_path {folder}/{name}.fastcgi;
    uwsgi_temp_path {folder}/{name}.uwsgi;
    scgi_temp_path {folder}/{name}.scgi;
{http}
}}
"""

# Every request of the load comes from this machine; its X-Forwarded-For stands in for its source address.
GUARDED = """\
    set_real_ip_from 127.0.0.1;
    real_ip_header X-Forwarded-For;
    include {folder}/{name}.upstream.conf;
    server {{
        listen 127.0.0.1:{port};
        include {deploy}/nginx/forwardauth-server.conf;
        location / {{
            include {deploy}/nginx/forwardauth-location.conf;
            root {folder};
            try_files /served =404;
        }}
    }}
"""


@dataclass(frozen=True)
class Target:
    """Where the load goes: an auth server, or the gateway before it."""

    name: str
    port: int
    shape: Shape
    refuses: bool  # nginx's `return 200` allows everybody


@dataclass(frozen=True)
class AuthServer:
    """A program that decides."""

    target: Target
    program: Program


class Rig:
    """Starts auth servers and gateways on their cores for as long as the stack lasts; their files are in one folder."""

    def __init__(self, core: int, gateway_core: int, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forwardauth-bench-")))
        self.folder = folder
        self.tokens = folder / "tokens"
        self.audit = folder / "audit.log"
        self._core = core
        self._gateway_core = gateway_core
        self._stack = stack
        tokens = [hashlib.sha256(f"token {number}".encode()).hexdigest()[:43] for number in range(TOKENS)]
        self.tokens.write_text("\n".join(tokens) + "\n")
        self.good_token = tokens[0]
        (folder / "served").write_text("ok\n")
        folder.chmod(0o755)  # started by root, nginx's worker is somebody else and reads `served`

    def _start(self, name: str, core: int, *command: str) -> Program:
        return self._stack.enter_context(started(name, ["taskset", "-c", str(core), *command], self.folder))

    def _nginx(self, name: str, core: int, http: str) -> Program:
        binary = installed("nginx")
        assert binary, "the caller looked for it"
        conf = self.folder / f"{name}.conf"
        conf.write_text(NGINX.format(folder=self.folder, name=name, http=http))
        return self._start(name, core, binary, "-p", str(self.folder), "-c", str(conf))

    def headers(self, shape: Shape, token: str) -> dict[str, str]:
        """One request of the load, for the checks before it."""
        client = {"Host": "llm.example.com", "X-API-Token": token}
        forwarded = {"Method": "POST", "Proto": "https", "Host": "llm.example.com", "For": "198.18.0.1", "Uri": "/v1/x"}
        return client if shape == "client" else client | {f"X-Forwarded-{k}": v for k, v in forwarded.items()}

    # The auth servers.

    def nginx_return(self) -> AuthServer:
        [port] = free_ports(1)
        server = f"    server {{ listen 127.0.0.1:{port}; location / {{ return 200; }} }}"
        program = self._nginx("nginx-return", self._core, server)
        return self._ready("nginx return 200", port, program, refuses=False)

    def plain_aiohttp(self) -> AuthServer:
        [port] = free_ports(1)
        command = [sys.executable, "-m", "benchmarks.plain_aiohttp", str(port), str(self.tokens)]
        return self._ready("aiohttp, one look-up", port, self._start("aiohttp", self._core, *command))

    def forwardauth(self) -> AuthServer:
        port, admin = free_ports(2)
        lines = [
            f"        - {{name: t{number}, sha256: {hashlib.sha256(token.encode()).hexdigest()}}}"
            for number, token in enumerate(self.tokens.read_text().split())
        ]
        config = self.folder / "forwardauth.yml"
        config.write_text(CONFIG.format(port=port, admin=admin, tokens="\n".join(lines), audit=self.audit))
        import bcrypt  # not above: --help runs before anything is installed

        hashed = bcrypt.hashpw(b"password", bcrypt.gensalt(rounds=10)).decode()
        (self.folder / "users.htpasswd").write_text(f"alice:{hashed}\n")
        command = [sys.executable, "-m", "forwardauth", "serve", f"--config={config}"]
        program = self._start("forwardauth", self._core, *command)
        return self._ready("forwardauth", port, program)

    def _ready(self, name: str, port: int, program: Program, refuses: bool = True) -> AuthServer:
        until_ready(program, port)
        return AuthServer(Target(name, port, "subrequest", refuses), program)

    # The gateways, as they ship.

    def behind_nginx(self, auth: AuthServer) -> Target:
        [port] = free_ports(1)
        name = f"nginx-before-{auth.program.name}"
        upstream = {"forwardauth:9000": f"127.0.0.1:{auth.target.port}"}
        (self.folder / f"{name}.upstream.conf").write_text(shipped("nginx/forwardauth-upstream.conf", upstream))
        http = GUARDED.format(folder=self.folder, name=name, port=port, deploy=ROOT / "deploy")
        return self._gateway(auth, port, self._nginx(name, self._gateway_core, http))

    def behind_traefik(self, auth: AuthServer, backend: AuthServer) -> Target:
        port, tls = free_ports(2)
        name = f"traefik-before-{auth.program.name}"
        dynamic = self.folder / f"{name}.dynamic.yml"
        dynamic.write_text(
            shipped(
                "traefik/dynamic.yml",
                {
                    "http://forwardauth:9000": f"http://127.0.0.1:{auth.target.port}",
                    "http://llm:8000": f"http://127.0.0.1:{backend.target.port}",
                },
            )
        )
        static = self.folder / f"{name}.yml"
        static.write_text(
            shipped(
                "traefik/traefik.yml",
                {
                    '":80"': f'"127.0.0.1:{port}"',
                    '":443"': f'"127.0.0.1:{tls}"',
                    "/etc/traefik/dynamic.yml": str(dynamic),
                    # Its lines are written all the same, but do not fill the disk.
                    "accessLog:\n": "accessLog:\n  filePath: /dev/null\n",
                },
            )
        )
        binary = traefik_binary()
        assert binary, "the caller looked for it"
        program = self._start(name, self._gateway_core, binary, f"--configFile={static}")
        return self._gateway(auth, port, program)

    def _gateway(self, auth: AuthServer, port: int, program: Program) -> Target:
        until_ready(program, port, PATHS["client"], headers=self.headers("client", self.good_token))
        return Target(auth.target.name, port, "client", auth.target.refuses)
