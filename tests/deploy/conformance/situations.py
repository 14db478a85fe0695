"""The configurations that the table is about, and the credentials in them. Knows no gateway."""

from __future__ import annotations

from dataclasses import dataclass

from tests.deploy.rig.client import HOST
from tests.deploy.rig.service import Setup
from tests.deploy.rig.setups import HTPASSWD

OPEN_HOST, CLOSED_HOST = "public.example.com", "admin.example.com"

TOKEN = "t-6b1f0c9f3a7e"
OTHER_TOKEN = "t-of-another-caller"
EXPIRED_TOKEN = "t-that-has-expired"
SCOPED_TOKEN = "t-that-may-read-models"
HOURLY_TOKEN = "t-once-an-hour"
ALICE, BOB = "k-of-alice", "k-of-bob"

# `{SHA}` of "contraseña", as `htpasswd -s` writes it; the bcrypt of cost 12 fits no password of these tests.
JOSE, JOSES_PASSWORD = "jos\u00e9", "contrase\u00f1a"
_JOSE = JOSE + ":{SHA}jDG2W97NyfGLaV1zGBhv0f7taQ0="
_SLOW = "slow:$2b$12$xnMcRO.tcO5ph0ft8IdOIucaWywNgATFbDi2/.dyjCsEMdcx3z7tS"


@dataclass(frozen=True)
class Situation:
    """What a gateway stands before. `hosts` are those that it serves, `encrypted` asks for its TLS entry point."""

    name: str
    setup: Setup
    hosts: tuple[str, ...] = (HOST, OPEN_HOST, CLOSED_HOST)
    service_runs: bool = True
    encrypted: bool = False


_CONFIG = f"""
authenticators:
  ci:
    token:
      from: [{{header: X-API-Token}}]
      tokens:
        - {{name: ci, value: {TOKEN}}}
        - {{name: other, value: {OTHER_TOKEN}}}
        - {{name: old, value: {EXPIRED_TOKEN}, expires: 2020-01-01}}
        - {{name: reader, value: {SCOPED_TOKEN}, scopes: [{{path: /v1/*, methods: [GET]}}]}}
        - {{name: hourly, value: {HOURLY_TOKEN}, rate: 1/h}}
  keys:
    token:
      from: [bearer, {{header: X-API-Key}}, {{cookie: key}}]
      tokens: [{{name: alice, value: {ALICE}}}, {{name: bob, value: {BOB}}}]
  staff: {{basic: {{htpasswd: users.htpasswd}}}}
  slow: {{basic: {{users: ["{_SLOW}"]}}}}
  office: {{network: {{allow: [127.0.0.0/8]}}}}
  elsewhere: {{network: {{allow: [10.0.0.0/8]}}}}

routes:
  - {{name: open, host: {OPEN_HOST}, path: /*, public: true}}
  - {{name: closed, host: {CLOSED_HOST}, path: /*, require: ci}}
  - {{name: port, host: "{HOST}:8080", path: /port, public: true}}
  - {{name: health, path: /health, public: true}}
  - {{name: models, path: /v1/*, require: ci}}
  - {{name: keys, path: /keys/*, require: keys}}
  - {{name: staff, path: /staff/*, require: staff}}
  - {{name: slow, path: /slow/*, require: slow}}
  - {{name: any, path: /any/*, require: {{any: [ci, keys, staff]}}}}
  - {{name: all, path: /all/*, require: {{all: [staff, ci]}}}}
  - {{name: nested, path: /nested/*, require: {{all: [ci, {{any: [elsewhere, staff]}}]}}}}
  - {{name: office, path: /office/*, require: office}}
  - {{name: elsewhere, path: /elsewhere/*, require: elsewhere}}
  - {{name: openai, path: /openai/*, require: ci, errors: openai}}
  - {{name: anthropic, path: /anthropic/*, require: ci, errors: anthropic}}
  - {{name: detail, path: /detail/*, require: ci, errors: detail}}
  - {{name: plain, path: /plain/*, require: ci, errors: plain}}
  - {{name: browser, path: /browser/*, require: ci, errors: browser}}
  - {{name: read, path: /read/*, methods: [GET], require: ci}}
  - {{name: cors, path: /cors/*, methods: [GET, POST], preflight: true, require: ci}}
  - {{name: foreign, path: /foreign/*, require: {{any: [ci, keys]}}, pass_credentials: foreign}}
  - {{name: passed, path: /passed/*, require: {{any: [ci, keys]}}, pass_credentials: true}}
  - {{name: slashes, path: /slashes/*, encoded_slashes: true, require: ci}}
  - {{name: hourly, path: /hourly/*, rate: 1/h, require: ci}}
  - {{name: once, path: /once/*, rate: 1/h, public: true}}
"""

_FILES = (("users.htpasswd", f"{HTPASSWD}\n{_JOSE}\n"),)

MAIN = Situation("the table's configuration", Setup(_CONFIG, files=_FILES))
OFF = Situation("authentication is disabled", Setup("require_auth: false\n" + _CONFIG, files=_FILES))
ENCRYPTED = Situation("over TLS", Setup(_CONFIG, files=_FILES), encrypted=True)
DOWN = Situation("the service is down", Setup(_CONFIG, files=_FILES), service_runs=False)
