"""`forwardauth doctor`: attacks a deployment from outside, and says which lines of the gateway's configuration end it.

Knows options and how outcomes are printed; what is attacked stands in `forwardauth.doctor`. No secret is printed.
"""

import asyncio
import json
import os
import re
import ssl
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import click

from forwardauth.cli.mistakes import EXIT_MISTAKES
from forwardauth.config.interpolate import expand
from forwardauth.core.reply import IDENTITY_FIELDS
from forwardauth.doctor import CHECKS, examine
from forwardauth.doctor.finding import Finding, Outcome
from forwardauth.doctor.gateway import candidates
from forwardauth.doctor.remedies import REMEDIES, lines
from forwardauth.doctor.site import Instructions, Site, Unfit
from forwardauth.doctor.wire import Place, Unreachable
from forwardauth.gateways import GATEWAYS

EXIT_FINDINGS = 1

_NAMES = [check.name for check in CHECKS]
_STYLES = {"ok": "green", "finding": "bold red", "skipped": "dim"}
# A field name (RFC 9110 5.1), and a value that ends no line.
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEADER = re.compile(rf"({_NAME})[ \t]*:[ \t]*([^\r\n\0]+?)[ \t]*")


@click.command()
@click.argument("url")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="A header of a valid credential; may be repeated. `${NAME}` is read from the environment, `${file:PATH}` "
    "from a file; `@PATH` is a file of such lines.",
)
@click.option("--closed", multiple=True, metavar="PATH", help="A path that needs it, in place of the URL's own.")
@click.option("--open", "open_at", metavar="PATH", help="A path that needs none, or its URL; `/health` is tried.")
@click.option("--echo", is_flag=True, help="The backend repeats the headers of a request, as JSON or as text.")
@click.option("--backend", metavar="URL", help="The backend's own address, which is not to be reached from here.")
@click.option("--gateway", type=click.Choice(sorted(GATEWAYS)), help="Whose lines to print; guessed without it.")
@click.option("--identity", multiple=True, metavar="NAME", help="A further identity header; may be repeated.")
@click.option("--burst", type=click.IntRange(6, 1000), metavar="N", help="Guess N times, and be locked out after it.")
@click.option("--connect", metavar="HOST:PORT", help="Where to connect, in place of the URL's host and port.")
@click.option("-k", "--insecure", is_flag=True, help="Accept any certificate.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 300),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="For a request.",
)
@click.option("--skip", multiple=True, type=click.Choice(_NAMES), metavar="CHECK", help="A check to leave out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(url: str, gateway: str | None, skip: tuple[str, ...], as_json: bool, **told: Any) -> None:
    """Attack a deployment of yours from outside. Exit code 0: no findings; 1: findings; 2: it could not be examined."""
    instructions = _instructions(url, told)
    if instructions.burst:
        click.echo(
            f"--burst sends up to {2 * instructions.burst} wrong credentials at the end: "
            "forwardauth locks this address out, and whoever shares it",
            err=True,
        )
    report = _Report(url, gateway, as_json)
    try:
        asyncio.run(_examine(Site(instructions), frozenset(skip), report))
    except (Unreachable, Unfit) as failure:
        click.echo(f"forwardauth: {failure}", err=True)
        sys.exit(EXIT_MISTAKES)
    if report.end():
        sys.exit(EXIT_FINDINGS)


async def _examine(site: Site, skip: frozenset[str], report: "_Report") -> None:
    await site.look()
    report.begin(site)
    async for outcome in examine(site, skip):
        report.add(outcome)


# What the operator said.


def _instructions(url: str, told: dict[str, Any]) -> Instructions:
    parts = _url(url, "URL")
    open_host, opened = _open(told["open_at"])
    return Instructions(
        place=_place(parts, told["connect"], told["insecure"], told["timeout"]),
        host=parts.netloc,
        scheme=parts.scheme,
        closed=tuple(_path(path, "--closed") for path in told["closed"]) or (_target(parts),),
        credential=tuple(header for text in told["headers"] for header in _headers(text)),
        open=opened,
        open_host=open_host,
        backend=None if told["backend"] is None else _backend(told["backend"], told["insecure"], told["timeout"]),
        identity=tuple(dict.fromkeys([*IDENTITY_FIELDS.values(), *map(_name, told["identity"])])),
        echo=told["echo"],
        burst=told["burst"] or 0,
    )


def _url(text: str, option: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known:
        raise click.BadParameter("expected a whole URL, such as https://api.example.com/v1/models", param_hint=option)
    if parts.username is not None:
        raise click.BadParameter("a credential belongs into -H, where no process list shows it", param_hint=option)
    return parts


def _open(text: str | None) -> tuple[str | None, str | None]:
    """The host, if it is another one, and the target of what is open."""
    if text is None or text.startswith("/"):
        return None, text and _path(text, "--open")
    parts = _url(text, "--open")
    return parts.netloc, _target(parts)


def _path(text: str, option: str) -> str:
    if not text.startswith("/") or not text.isprintable() or " " in text:
        raise click.BadParameter("expected a path that begins with /", param_hint=option)
    return text


def _name(text: str) -> str:
    if not re.fullmatch(_NAME, text):
        raise click.BadParameter("expected a header's name", param_hint="--identity")
    return text


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _backend(text: str, insecure: bool, seconds: float) -> Place:
    return _place(_url(text, "--backend"), None, insecure, seconds)


def _place(parts: SplitResult, connect: str | None, insecure: bool, seconds: float) -> Place:
    there = parts if connect is None else _url(f"{parts.scheme}://{connect}", "--connect")
    port = there.port or (443 if there.scheme == "https" else 80)
    tls = _tls(insecure) if parts.scheme == "https" else None
    return Place(there.hostname or "", port, tls, parts.hostname or "", seconds)


def _tls(insecure: bool) -> ssl.SSLContext:
    tls = ssl.create_default_context()
    tls.set_alpn_protocols(["http/1.1"])
    if insecure:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return tls


def _headers(text: str) -> Iterator[tuple[str, str]]:
    """The headers of one `-H`. A message repeats nothing of it: who forgets the name has written a secret."""
    try:
        if text.startswith("@"):
            written = Path(text[1:]).read_text().splitlines()
        else:
            written = [expand(text, os.environ, lambda path: Path(path).read_text())]
    except (OSError, ValueError) as failure:
        raise click.BadParameter(str(failure), param_hint="-H") from None
    for line in filter(str.strip, written):
        header = _HEADER.fullmatch(line)
        if header is None:
            raise click.BadParameter("expected 'NAME: VALUE'", param_hint="-H")
        yield header[1], header[2]


# What the operator reads.


class _Report:
    """Every outcome as it comes, for people; or one JSON document at the end."""

    def __init__(self, url: str, gateway: str | None, as_json: bool) -> None:
        # Imported here: the other commands start faster without it.
        from rich.console import Console

        self._console = Console(highlight=False, soft_wrap=True, quiet=as_json)
        self._as_json = as_json
        self._url = url
        self._gateways: tuple[str, ...] = (gateway,) if gateway is not None else ()
        self._outcomes: list[Outcome] = []

    def begin(self, site: Site) -> None:
        """The deployment has been looked at."""
        self._gateways = self._gateways or candidates(site)
        self._say(f"{self._url}: {' or '.join(self._gateways)}")

    def add(self, outcome: Outcome) -> None:
        """A check is over."""
        self._outcomes.append(outcome)
        whats = [finding.what for finding in outcome.findings]
        width = max(map(len, _NAMES))
        for text in [*whats, outcome.skipped] if outcome.skipped else whats or [""]:
            self._say(f"{outcome.word:<8} {outcome.check:<{width}}  {text}".rstrip(), outcome.word)
        for line in _remedies(outcome.findings, self._gateways):
            self._say(f"{'':9}{line}")

    def end(self) -> bool:
        """Every check is over; says whether there was a finding."""
        if self._as_json:
            click.echo(json.dumps(self._document(), indent=2))
        count = Counter(outcome.word for outcome in self._outcomes)
        words = f"{count['finding']} with findings, {count['ok']} ok, {count['skipped']} skipped"
        self._say(f"{len(self._outcomes)} checks: {words}")
        return bool(count["finding"])

    def _say(self, text: str, word: str = "") -> None:
        from rich.text import Text

        said = Text(text)
        said.stylize(_STYLES.get(word, ""), 0, len(word))
        self._console.print(said)

    def _document(self) -> dict[str, Any]:
        return {
            "url": self._url,
            "gateways": self._gateways,
            "findings": sum(len(outcome.findings) for outcome in self._outcomes),
            "checks": [
                {
                    "check": outcome.check,
                    "outcome": outcome.word,
                    "skipped": outcome.skipped or None,
                    "findings": [_as_document(finding, self._gateways) for finding in outcome.findings],
                }
                for outcome in self._outcomes
            ],
        }


def _remedies(findings: tuple[Finding, ...], gateways: tuple[str, ...]) -> Iterator[str]:
    """The advice, and below each file of a gateway its lines: `+` for what has to be there, `-` for what must not."""
    yield from dict.fromkeys(REMEDIES[finding.remedy].advice for finding in findings)
    for gateway in gateways:
        files: dict[str, dict[str, None]] = {}
        for line in (line for finding in findings for line in lines(finding, gateway)):
            file = f"{line.file} ({line.where})" if line.where else line.file
            files.setdefault(file, {})[f"  {'-' if line.absent else '+'} {line.text}"] = None
        for file, texts in files.items():
            yield f"{gateway}, {file}"
            yield from texts


def _as_document(finding: Finding, gateways: tuple[str, ...]) -> dict[str, Any]:
    return {
        "what": finding.what,
        "advice": REMEDIES[finding.remedy].advice,
        "lines": {
            gateway: [
                {"file": line.file, "where": line.where or None, "text": line.text, "absent": line.absent}
                for line in lines(finding, gateway)
            ]
            for gateway in gateways
        },
    }
