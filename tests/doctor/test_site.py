"""What is sent as a wrong credential, and what is read out of an answer."""

from __future__ import annotations

import base64
import json

import pytest

from forwardauth.doctor.site import Instructions, Site, Unfit, arrived, code, described, wrong
from forwardauth.doctor.wire import NO_ANSWER, Answer, Headers, Place
from tests.doctor.fake import Asked, Fake, Said, visited

HEADERS = {"A": ["1"], "b": ["2", "3"]}


class TestWrongCredentials:
    @pytest.mark.parametrize(
        ("header", "form"),
        [
            (("X-API-Token", "secret"), "doctor-"),
            (("Authorization", "Bearer secret"), "Bearer doctor-"),
            (("authorization", "bearer secret"), "bearer doctor-"),
            (("Authorization", "secret"), "doctor-"),
            (("Cookie", "key=secret; other=secret"), "key=doctor-"),
            (("X-Key", "two words"), "doctor-"),
        ],
    )
    def test_have_the_form_of_the_right_one(self, header: tuple[str, str], form: str) -> None:
        ((name, value),) = wrong((header,))
        assert name == header[0]
        assert value.startswith(form)
        assert "secret" not in value
        assert "words" not in value

    def test_are_a_user_whom_nobody_knows(self) -> None:
        """A real one's failures would be counted against him."""
        right = "Basic " + base64.b64encode(b"alice:secret").decode()
        ((_, value),) = wrong((("Authorization", right),))
        user, _, password = base64.b64decode(value.removeprefix("Basic ")).decode().partition(":")
        assert user == "doctor"
        assert password not in ("", "secret")

    def test_are_never_the_same(self) -> None:
        assert wrong((("X-API-Token", "a"),)) != wrong((("X-API-Token", "a"),))

    def test_of_several_the_last_is_wrong(self) -> None:
        """What the gateway asks for itself comes first, and has to be right for the service to be asked."""
        first: Headers = (("Authorization", "Basic eDp5"),)
        assert wrong((*first, ("X-API-Token", "a")))[:1] == first


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(HEADERS),
        json.dumps({"headers": HEADERS, "path": "/"}),
        json.dumps({"headers": {"A": "1", "b": ["2", "3"]}}),
        "Hostname: x\nGET / HTTP/1.1\nA: 1\nB: 2\nB:3\n",
    ],
)
def test_an_echo_is_read(body: str) -> None:
    found = arrived(Answer(200, body=body.encode()))
    assert (found["a"], found["b"]) == (["1"], ["2", "3"])


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b'"a: b"', b'{"headers": []}', b"\xff", b"[" * 100_000])
def test_what_is_no_echo_is_empty(body: bytes) -> None:
    assert arrived(Answer(200, body=body)) == {}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"error": {"code": "invalid_token"}}', "401 invalid_token"),
        (b'{"error": {"code": "\\u001b[31m"}}', "401"),
        (b'{"error": {"code": 7}}', "401"),
        (b'{"error": "x"}', "401"),
        (b"[]", "401"),
        (b"<html>", "401"),
        (b"[" * 100_000, "401"),
    ],
)
def test_an_answer_is_told_without_anything_that_a_terminal_obeys(body: bytes, found: str) -> None:
    assert described(Answer(401, body=body)) == found
    assert code(Answer(401, body=body)) in ("", "invalid_token")


def test_no_answer_is_told() -> None:
    assert described(NO_ANSWER) == "no answer"


def test_the_credential_is_printed_nowhere() -> None:
    told = Instructions(Place("h", 80), "h", ("/",), credential=(("X-API-Token", "right-token"),))
    assert "right-token" not in repr(Site(told))


class Silent(Fake):
    def gateway(self, asked: Asked) -> Said:
        raise ConnectionError


class NoEcho(Fake):
    def handed_on(self, asked: Asked) -> dict[str, list[str]]:
        return {}


class TestUnfitDeployments:
    async def test_that_do_not_answer(self) -> None:
        with pytest.raises(Unfit, match=r"does not answer in HTTP/1\.1"):
            async with visited(Silent()):
                pass

    async def test_whose_open_path_is_closed(self) -> None:
        with pytest.raises(Unfit, match="--open /v1/open is answered with 401"):
            async with visited(Fake(), open="/v1/open"):
                pass

    async def test_that_echo_nothing(self) -> None:
        with pytest.raises(Unfit, match="no answer repeats"):
            async with visited(NoEcho()):
                pass

    async def test_but_not_those_where_nothing_passes_yet(self) -> None:
        """What is wrong there is a finding, and the echo is not to blame."""
        async with visited(Fake(), credential=(("X-API-Token", "outdated"),), closed=("/v1/models", "/health")) as site:
            assert not site.right_credential_passes
            assert site.echoing == []


async def test_health_is_open_if_it_is() -> None:
    async with visited(Fake()) as site:
        assert site.open == "/health"
    async with visited(Fake(), closed=("/v1/models", "/health")) as site:
        assert site.open is None
