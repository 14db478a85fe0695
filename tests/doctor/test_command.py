"""`forwardauth doctor`: what an operator types and reads."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from forwardauth.cli import main
from forwardauth.cli.doctor import _instructions
from forwardauth.doctor import CHECKS
from forwardauth.doctor.site import Instructions
from tests.doctor.fake import HOST, TOKEN, Asked, Fake, served

URL = f"http://{HOST}/v1/models"


@contextmanager
def listening(fake: Fake) -> Iterator[str]:
    """Its address, served beside the command, which has a loop of its own."""
    address: list[str] = []
    started, ended = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with served(fake) as place:
            address.append(str(place))
            started.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(10)
    try:
        yield address[0]
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join(10)


class Leaky(Fake):
    """A backend that gets the client's token."""

    def handed_on(self, asked: Asked) -> dict[str, list[str]]:
        return super().handed_on(asked) | {"X-API-Token": asked.all("X-API-Token")}


def run(*words: str, url: str = URL, env: dict[str, str] | None = None) -> Result:
    return CliRunner(env=env or {}).invoke(main, ["doctor", url, *words])


def examined(fake: Fake, *words: str) -> Result:
    with listening(fake) as address:
        return run("--connect", address, "-H", f"X-API-Token: {TOKEN}", "--echo", *words)


class TestReport:
    def test_without_findings(self) -> None:
        result = examined(Fake())
        assert result.exit_code == 0
        first, *lines, last = result.stdout.splitlines()
        assert first.startswith(f"{URL}: ")
        assert [line.split()[1] for line in lines] == [check.name for check in CHECKS]
        assert last == "32 checks: 0 with findings, 30 ok, 2 skipped"

    def test_with_findings_names_the_gateways_lines(self) -> None:
        result = examined(Leaky(), "--gateway", "nginx")
        assert result.exit_code == 1
        lines = result.stdout.splitlines()
        place = lines.index("finding  credential-ends-here  a client's X-API-Token reached the backend on /v1/models")
        assert [line.strip() for line in lines[place + 2 : place + 8]] == [
            "Credentials end at the gateway, unless the route says `pass_credentials`.",
            "nginx, nginx.conf",
            "+ include forwardauth-location.conf;",
            "nginx, forwardauth-location.conf (credentials)",
            "+ auth_request_set $forwardauth_x_api_token $upstream_http_x_api_token;",
            "+ proxy_set_header X-API-Token $forwardauth_x_api_token;",
        ]
        assert lines[-1] == "32 checks: 1 with findings, 29 ok, 2 skipped"

    def test_as_json_is_one_document(self) -> None:
        result = examined(Leaky(), "--gateway", "caddy", "--json")
        assert result.exit_code == 1
        document = json.loads(result.stdout)
        assert (document["url"], document["gateways"], document["findings"]) == (URL, ["caddy"], 2)
        assert [check["check"] for check in document["checks"]] == [check.name for check in CHECKS]
        (check,) = (check for check in document["checks"] if check["outcome"] == "finding")
        assert check["findings"][0]["lines"]["caddy"][-1] == {
            "file": "forwardauth.caddy",
            "where": "forward_auth",
            "text": "copy_headers Authorization X-API-Key X-API-Token",
            "absent": False,
        }

    def test_leaves_out_what_is_to_be_skipped(self) -> None:
        result = examined(Leaky(), "--skip", "credential-ends-here", "--skip", "lockout")
        assert result.exit_code == 0
        assert "credential-ends-here" not in result.stdout

    def test_says_before_a_burst_what_it_does(self) -> None:
        result = examined(Fake(), "--burst", "6")
        assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "32 checks: 0 with findings, 31 ok, 1 skipped")
        assert result.stderr.startswith("--burst sends up to 12 wrong credentials")
        assert "--burst" not in examined(Fake()).stderr

    @pytest.mark.parametrize("words", [(), ("--json",)])
    def test_prints_no_credential(self, words: tuple[str, ...]) -> None:
        result = examined(Leaky(), *words)
        assert TOKEN not in result.output


class TestCredentials:
    """Better not on the command line, which every process of the machine can read."""

    def heard(self, *words: str, env: dict[str, str] | None = None) -> list[Asked]:
        heard: list[Asked] = []

        class Listening(Fake):
            def gateway(self, asked: Asked) -> tuple[int, dict[str, str], str]:
                heard.append(asked)
                return super().gateway(asked)

        with listening(Listening()) as address:
            assert run("--connect", address, *words, env=env).exit_code == 0
        return heard

    def test_come_from_the_environment(self) -> None:
        heard = self.heard("-H", "X-API-Token: ${CI_TOKEN}", env={"CI_TOKEN": TOKEN})
        assert any(asked.all("X-API-Token") == [TOKEN] for asked in heard)

    def test_come_from_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        heard = self.heard("-H", f"X-API-Token: ${{file:{tmp_path}/token}}")
        assert any(asked.all("X-API-Token") == [TOKEN] for asked in heard)

    def test_come_from_a_file_of_headers(self, tmp_path: Path) -> None:
        (tmp_path / "headers").write_text(f"X-Tenant: a\n\nX-API-Token: {TOKEN}\n")
        heard = self.heard("-H", f"@{tmp_path}/headers")
        assert any((asked.all("X-Tenant"), asked.all("X-API-Token")) == (["a"], [TOKEN]) for asked in heard)

    @pytest.mark.parametrize(
        "header",
        ["secret", "X-API-Token:", "X-API-Token: ${UNSET}", "a b: secret", "X: a\r\nB: secret", "@/no/such/file"],
    )
    def test_that_cannot_be_read_are_a_usage_error(self, header: str) -> None:
        """Whoever forgets the name has written a secret, which no message repeats."""
        result = run("-H", header)
        assert result.exit_code == 2
        assert "secret" not in result.output


class TestMistakes:
    @pytest.mark.parametrize(
        "url", ["/v1", "llm.example.com/v1", "ftp://a/", "http://", "http://a:b/", "http://a:99999/"]
    )
    def test_in_the_url(self, url: str) -> None:
        assert run(url=url).exit_code == 2

    def test_a_password_in_the_url(self) -> None:
        result = run(url="https://alice:secret@a.example/")
        assert result.exit_code == 2
        assert "secret" not in result.output

    @pytest.mark.parametrize(
        "words",
        [
            ("--closed", "v1"),
            ("--open", "health"),
            ("--closed", "/a b"),
            ("--backend", "a:8000"),
            ("--burst", "5"),
            ("--skip", "nothing"),
            ("--gateway", "apache"),
            ("--connect", "a:b"),
            ("--identity", "Remote-User: x"),
        ],
    )
    def test_in_an_option(self, words: tuple[str, ...]) -> None:
        assert run(*words).exit_code == 2

    def test_a_deployment_that_nobody_reaches(self) -> None:
        with listening(Fake()) as address:
            pass
        result = run("--connect", address)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"forwardauth: {address}: ")

    def test_a_deployment_that_cannot_be_examined(self) -> None:
        fake = Fake()
        fake.failures = 5
        result = examined(fake)
        assert result.exit_code == 2
        assert "locked out" in result.stderr


class TestUrls:
    def told(self, url: str = URL, **given: object) -> Instructions:
        usual = dict.fromkeys(["open_at", "backend", "connect", "burst"])
        lists = dict.fromkeys(["closed", "headers", "identity"], ())
        return _instructions(url, {**usual, **lists, "insecure": False, "timeout": 1.0, "echo": False, **given})

    def test_name_host_and_path(self) -> None:
        told = self.told("https://llm.example.com:8443/v1/models?a=%2f")
        assert (told.scheme, told.host, told.closed) == ("https", "llm.example.com:8443", ("/v1/models?a=%2f",))
        assert (told.place.host, told.place.port, told.place.server_name) == (
            "llm.example.com",
            8443,
            "llm.example.com",
        )
        assert told.place.tls is not None
        assert told.place.tls.verify_mode is ssl.CERT_REQUIRED

    def test_need_no_path(self) -> None:
        assert self.told("http://llm.example.com").closed == ("/",)

    def test_leave_the_place_to_connect(self) -> None:
        told = self.told("https://llm.example.com/", connect="[::1]:8443", insecure=True)
        assert (told.place.host, told.place.port, told.place.server_name) == ("::1", 8443, "llm.example.com")
        assert told.place.tls is not None
        assert told.place.tls.verify_mode is ssl.CERT_NONE

    def test_of_an_open_path_may_name_another_host(self) -> None:
        told = self.told(open_at="http://public.example.com/x?y")
        assert (told.open_host, told.open) == ("public.example.com", "/x?y")
        assert (self.told(open_at="/x").open_host, self.told(open_at="/x").open) == (None, "/x")

    def test_of_a_backend_have_its_port(self) -> None:
        backend = self.told(backend="http://10.0.0.7:8000").backend
        assert backend is not None
        assert (backend.host, backend.port, backend.tls) == ("10.0.0.7", 8000, None)
