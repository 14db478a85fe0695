"""Where fuzzing begins: what the attacks send, and the words that mean something in it."""

from __future__ import annotations

from tests.attacks.gate import CHAT, DIALECTS, PATIENT, subrequest, token
from tests.attacks.test_operators_files import DAMAGED_CONFIGURATIONS, DAMAGED_USERS
from tests.attacks.test_operators_files import USERS as WHOLE_USERS
from tests.attacks.test_smuggling import FRAMINGS, announced, with_lines
from tests.attacks.test_speaking_as_the_gateway import JOINED, NO_OPEN_HOSTS
from tests.attacks.test_spelling import DOTS, ODD
from tests.server.shaping import ASKED, OTHER


def words(text: str) -> list[bytes]:
    """The lines of a text, with its escapes read."""
    return [line.encode("latin-1").decode("unicode_escape").encode("latin-1") for line in text.strip("\n").split("\n")]


_MESSAGES = [subrequest(dialect, CHAT, *more) for dialect in DIALECTS for more in ([], [token()])]
_UPGRADE = with_lines(_MESSAGES[0], b"Connection: Upgrade", b"Upgrade: websocket")
_BODIES = [with_lines(_MESSAGES[0], *lines) + body for lines, body in announced(_MESSAGES[1]).values()]
_HEADS = [with_lines(_MESSAGES[0], *lines) for lines in FRAMINGS.values()]
_STREAMS = [*_MESSAGES[:3], b"".join(_MESSAGES), *_BODIES, *_HEADS, _UPGRADE * 2]

SHAPED = [ASKED, OTHER, ASKED + with_lines(OTHER, b"Content-Length: 01") + b"hello"]
"""Messages of one shape; the last was once remembered as its first request alone."""

STREAMS = [bytes((size,)) + each for size in (0, 5) for each in _STREAMS]
"""A size of packets, and what comes in them."""

HTTP = words(r"""
\r\n
\r\n\r\n
\n
\r
\0
\x20
\t
:
\x20HTTP/1.1\r\n
\x20HTTP/1.0\r\n
GET\x20
POST\x20
HEAD\x20
CONNECT\x20
PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n
Content-Length:\x20
Content-Length: 0\r\n
Transfer-Encoding: chunked\r\n
0\r\n\r\n
1\r\n
Connection: close\r\n
Connection: keep-alive\r\n
Connection: Upgrade\r\nUpgrade: websocket\r\n
Expect: 100-continue\r\n
Host: a\r\n
""")

HEADERS = [
    bytes((dialect, place)) + value + b"\nX-Auth-User: admin\nX-API-Token: guess"
    for dialect in range(len(DIALECTS))
    for place in range(7)
    for value in (b"/health", b"https://open.example.com/x", b"open.example.com", b"GET", b"10.0.0.1, 192.0.2.1")
]
"""A dialect, a header of its gateway, what stands there instead, and the client's headers, a line each."""

NAMES = words(r"""
\n
X-Auth-User: admin
X_Auth_User: admin
X-API-Token: guess
X-API-Token: right-token
Authorization: Bearer x
Cookie: key=x
X-Forwarded-Uri: /health
X-Original-URL: https://open.example.com/health
Host: open.example.com
Origin: https://evil.example
Access-Control-Request-Method: GET
X-HTTP-Method-Override: GET
Forwarded: x
/health
https://
open.example.com
api.example.com
%2e
%2f
..
://
@
?
#
,
""")

PATHS = [f"/public/{dots}/admin".encode() for dots in DOTS] + [each.encode() for each in ODD]
ESCAPES = words(r"""
%2e
%2E
%2f
%5c
%3b
%00
%25
%252e
%c0%ae
%C3%A9
..
/
//
\\
;
%
""")

HOSTS = [each.encode() for each in (*NO_OPEN_HOSTS, "a.example:80", "[::1]:443", "192.0.2.1", "A.b.")]
HOST_MARKS = words(r"""
.
:
@
[::
]
%
xn--
65535
0x7f
""")

ADDRESSES = [each.encode() for each in (*JOINED["X-Forwarded-For"], "10.0.0.1, 2001:db8::1", "::ffff:192.0.2.1")]
ADDRESS_WORDS = words(r"""
192.0.2.1
::ffff:192.0.2.1
2001:db8::1
%eth0
[::1]:80
unknown
,
,\x20
\t
198.51.100.7
""")

CREDENTIALS = [b'a=b; key="good"; key=bad', b"Basic Ym9iOng=", b"Ym9iOng=", b"Bearer x", b"eyJhbGciOiJub25lIn0.e30."]
CREDENTIAL_WORDS = words(r"""
key=
;\x20
"
=
Bearer\x20
Basic\x20
Ym9iOng=
://
/
\t
sk-ant-oat01-
""")

CONFIGURATIONS = [PATIENT.encode(), *(each.encode() for each in DAMAGED_CONFIGURATIONS.values())]
YAML = words(r"""
\n\x20\x20
-\x20
:\x20
{
}
[
]
'
|
&a\x20
*a
!!
<<:\x20
null
1e999
2027-01-31
${SECRET}
${X:-y}
routes:
authenticators:
token:
basic:
network:
require:
any:
all:
public: true
path: /*
preset: vllm
host:
methods:
scopes:
expires:
rate: 1/s
login:
server:
lockout:
identity_headers:
errors:
""")

USERS = [WHOLE_USERS.encode(), *(each.encode() for each in DAMAGED_USERS.values())]
HASHES = words(r"""
:
\n
#
{SHA}
$2b$05$
$apr1$
""")
