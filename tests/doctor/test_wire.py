"""Bytes as they are given, and answers whole, byte by byte, cut off, or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from forwardauth.doctor.wire import NO_ANSWER, Answer, Place, Request, Unreachable
from tests.doctor.fake import served_by


@asynccontextmanager
async def said(*parts: bytes, ends: bool = True) -> AsyncIterator[tuple[Place, list[bytes]]]:
    """A server that says these parts one after another, and what it was asked."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        if not ends:
            await reader.read()

    async with served_by(serve) as port:
        yield Place("127.0.0.1", port, seconds=0.5), heard


async def answer(*parts: bytes, method: str = "GET", ends: bool = True) -> Answer:
    async with said(*parts, ends=ends) as (place, _):
        return await place.send(Request("/", method, host="h"))


class TestRequests:
    def test_are_written_as_they_are_told(self) -> None:
        headers = (("X_Auth_User", "a"), ("X-Auth-User", "b"), ("x-auth-user", "c"))
        request = Request("http://a@b/%2e%2e/\\;?#", "get", headers, "h:80@other")
        assert request.render() == (
            b"get http://a@b/%2e%2e/\\;?# HTTP/1.1\r\nHost: h:80@other\r\n"
            b"X_Auth_User: a\r\nX-Auth-User: b\r\nx-auth-user: c\r\nConnection: close\r\n\r\n"
        )

    def test_have_no_host_where_none_is_wanted(self) -> None:
        assert b"Host" not in Request("/").render()

    def test_announce_a_body_unless_they_say_otherwise(self) -> None:
        assert b"Content-Length: 2\r\n" in Request("/", body=b"{}").render()
        assert b"Content-Length: 127\r\n" in Request(
            "/", headers=(("content-length", "127"),), body=b"{}"
        ).render().replace(b"content", b"Content").replace(b"length", b"Length")
        assert b"Length" not in Request("/", headers=(("Transfer-Encoding", "chunked"),), body=b"0\r\n\r\n").render()

    def test_close_the_connection_unless_they_say_otherwise(self) -> None:
        assert Request("/", headers=(("Connection", "Upgrade"),)).render().count(b"Connection") == 1

    def test_show_no_header_where_they_are_printed(self) -> None:
        assert "secret" not in repr(Request("/", headers=(("X-API-Token", "secret"),)))

    async def test_arrive_byte_by_byte_the_same(self) -> None:
        async with said(b"HTTP/1.1 200 OK\r\n\r\n") as (place, heard):
            await place.send(Request("/\u00e9", headers=(("A", "b"),)))
        assert heard == ["GET /\u00e9 HTTP/1.1\r\nA: b\r\nConnection: close\r\n\r\n".encode()]


ANSWERS = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, and what does not belong to it", b"ok"),
    (b"HTTP/1.0 200 OK\r\n\r\nto the end", b"to the end"),
    (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\n\r\n", b"abcde"),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nok", b"ok"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", b"cut"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\nno size\r\n", b"cut"),
]


class TestAnswers:
    @pytest.mark.parametrize(("message", "body"), ANSWERS)
    async def test_are_read_whole(self, message: bytes, body: bytes) -> None:
        found = await answer(message)
        assert (found.status, found.body) == (200, body)

    @pytest.mark.parametrize(("message", "body"), ANSWERS)
    async def test_are_read_byte_by_byte(self, message: bytes, body: bytes) -> None:
        found = await answer(*(message[place : place + 1] for place in range(len(message))))
        assert (found.status, found.body) == (200, body)

    async def test_to_head_have_no_body(self) -> None:
        found = await answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", method="HEAD", ends=False)
        assert (found.status, found.body) == (200, b"")

    async def test_that_switch_protocols_are_final(self) -> None:
        found = await answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n\0\0\0", ends=False)
        assert (found.status, found.body) == (101, b"")

    async def test_keep_repeated_headers(self) -> None:
        found = await answer(b"HTTP/1.1 401 No\r\nA: 1\r\na:2 \r\nB:\r\n\r\n")
        assert (found.all("A"), found.get("a"), found.get("B"), found.get("C")) == (["1", "2"], "1, 2", "", "")

    @pytest.mark.parametrize(
        "message", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 200 O", b"\r\n\r\n"]
    )
    async def test_that_are_no_http_are_none(self, message: bytes) -> None:
        assert await answer(message) == NO_ANSWER

    async def test_that_do_not_come_are_none(self) -> None:
        assert await answer(ends=False) == NO_ANSWER

    async def test_that_do_not_end_are_cut(self) -> None:
        """A stream of events has no end; what came within two seconds is looked at."""
        async with said(b"HTTP/1.1 200 OK\r\n\r\n", b"data: 1\n\n", ends=False) as (place, _):
            patient = Place(place.host, place.port, seconds=10)
            assert (await patient.send(Request("/"))).body == b"data: 1\n\n"

    async def test_of_any_size_fill_no_memory(self) -> None:
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        found = await answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[chunk] * 40)
        assert found.status == 200
        assert len(found.body) <= 1 << 20


class TestNobody:
    async def test_there(self) -> None:
        async with said() as (place, _):
            pass
        with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:{place.port}: .*refused|Connect call failed"):
            await place.send(Request("/"))

    @pytest.mark.parametrize("host", ["doctor.invalid", "a" * 70 + ".example"])
    async def test_of_that_name(self, host: str) -> None:
        with pytest.raises(Unreachable, match=host):
            await Place(host, 80).send(Request("/"))

    def test_is_written_as_in_a_url(self) -> None:
        assert (str(Place("::1", 80)), str(Place("a.example", 80))) == ("[::1]:80", "a.example:80")
