"""What a preset opens is what clients of the backend send, and nothing else of it.

The calls are those of the real SDKs, made to a server that notes where they went.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import ollama
import openai
import pytest
from aiohttp import web

from forwardauth.config.presets import PRESETS
from forwardauth.core.routes import matches_path
from tests.building import Bench, bearer, mistakes, snapshot, word
from tests.deploy.rig.programs import free_ports
from tests.deploy.rig.server import ServerThread

AUTHENTICATORS = "{ci: {token: {tokens: [{name: ci, value: right}]}}}"
KEY = bearer("right")
Call = Callable[[Any], Any]


def bench(preset: str, more: str = "") -> Bench:
    return Bench(f"authenticators: {AUTHENTICATORS}\nroutes: [{{preset: {preset}, require: ci{more}}}]")


@pytest.fixture(scope="module")
def benches() -> dict[str, Bench]:
    return {name: bench(name) for name in PRESETS}


def answer(site: Bench, method: str, target: str, *headers: tuple[str, str]) -> str:
    """The route that lets a request pass, or the reason why none does."""
    decision = site.ask(method, f"https://llm.example.com{target}", *headers)
    if decision.denial is None and decision.place is not None:
        return decision.place.route.name
    return word(decision)


class Refusals:
    """A server that notes every request line, and refuses."""

    def __init__(self) -> None:
        (self.port,) = free_ports(1)
        self.asked: list[tuple[str, str]] = []

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._refuse)
        return app

    async def _refuse(self, request: web.Request) -> web.Response:
        await request.read()
        self.asked.append((request.method, request.raw_path))
        return web.Response(status=418)


@pytest.fixture(scope="module")
def refusals() -> Iterator[Refusals]:
    refusals = Refusals()
    server = ServerThread(refusals.application, port=refusals.port)
    server.start()
    yield refusals
    server.stop()


REFUSED = (openai.APIStatusError, anthropic.APIStatusError, ollama.ResponseError)


def request_of(refusals: Refusals, sdk: str, call: Call) -> tuple[str, str]:
    """Method and target of the request that an SDK makes of a call."""
    url = f"http://127.0.0.1:{refusals.port}"
    with warnings.catch_warnings():
        # Two calls are what clients should no longer make, and still do.
        warnings.simplefilter("ignore", DeprecationWarning)
        if sdk == "ollama":
            with ollama.Client(host=url) as client, pytest.raises(REFUSED):
                call(client)
        elif sdk == "anthropic":
            with anthropic.Anthropic(api_key="k", base_url=url, max_retries=0) as client, pytest.raises(REFUSED):
                call(client)
        else:
            with openai.OpenAI(api_key="k", base_url=f"{url}/v1", max_retries=0) as client, pytest.raises(REFUSED):
                call(client)
    (asked,) = refusals.asked
    refusals.asked.clear()
    return asked


WORDS: list[Any] = [{"role": "user", "content": "Hello"}]
SOUND = ("a.wav", io.BytesIO(b"RIFF"))
PICTURE = ("a.png", io.BytesIO(b"PNG"))

OPENAI: dict[str, Call] = {
    "chat": lambda c: c.chat.completions.create(model="m", messages=WORDS),
    "completions": lambda c: c.completions.create(model="m", prompt="Hello"),
    "embeddings": lambda c: c.embeddings.create(model="m", input="Hello"),
    "models": lambda c: c.models.list(),
    "model": lambda c: c.models.retrieve("m"),
    "response": lambda c: c.responses.create(model="m", input="Hello"),
    "response again": lambda c: c.responses.retrieve("resp_1"),
    "response no longer": lambda c: c.responses.cancel("resp_1"),
    "response away": lambda c: c.responses.delete("resp_1"),
    "response input": lambda c: c.responses.input_items.list("resp_1"),
    "response tokens": lambda c: c.responses.input_tokens.count(model="m", input="Hello"),
    "moderation": lambda c: c.moderations.create(input="Hello"),
    "speech": lambda c: c.audio.speech.create(model="m", voice="alloy", input="Hello"),
    "transcription": lambda c: c.audio.transcriptions.create(model="m", file=SOUND),
    "translation": lambda c: c.audio.translations.create(model="m", file=SOUND),
    "image": lambda c: c.images.generate(model="m", prompt="a cat"),
    "image edit": lambda c: c.images.edit(model="m", image=PICTURE, prompt="a dog"),
    "image variation": lambda c: c.images.create_variation(image=PICTURE),
}
ANTHROPIC: dict[str, Call] = {
    "message": lambda c: c.messages.create(model="m", max_tokens=1, messages=WORDS),
    "beta message": lambda c: c.beta.messages.create(model="m", max_tokens=1, messages=WORDS),
    "tokens": lambda c: c.messages.count_tokens(model="m", messages=WORDS),
    "models": lambda c: c.models.list(),
    "model": lambda c: c.models.retrieve("m"),
}
OLLAMA: dict[str, Call] = {
    "chat": lambda c: c.chat("m", WORDS),
    "generate": lambda c: c.generate("m", "Hello"),
    "embed": lambda c: c.embed("m", "Hello"),
    "embeddings": lambda c: c.embeddings("m", "Hello"),
    "models": lambda c: c.list(),
    "running models": lambda c: c.ps(),
    "show": lambda c: c.show("m"),
}
SDKS = {"openai": OPENAI, "anthropic": ANTHROPIC, "ollama": OLLAMA}

NEEDED = {
    "vllm": {
        "openai": {
            **dict.fromkeys(["chat", "completions", "embeddings", "response", "transcription", "translation"], "vllm"),
            "models": "vllm-models",
            **dict.fromkeys(["response again", "response no longer"], "vllm-responses"),
        },
        "anthropic": dict.fromkeys(["message", "beta message", "tokens"], "vllm"),
    },
    "ollama": {
        "openai": {
            **dict.fromkeys(["chat", "completions", "embeddings", "response", "transcription"], "ollama"),
            **dict.fromkeys(["models", "model"], "ollama-models"),
        },
        "anthropic": {"message": "ollama"},
        "ollama": {
            **dict.fromkeys(["chat", "generate", "embed", "embeddings", "show"], "ollama"),
            **dict.fromkeys(["models", "running models"], "ollama-models"),
        },
    },
    "llama-cpp": {
        "openai": {
            **dict.fromkeys(
                ["chat", "completions", "embeddings", "response", "response tokens", "transcription"], "llama-cpp"
            ),
            "models": "llama-cpp-models",
        },
        "anthropic": dict.fromkeys(["message", "tokens"], "llama-cpp"),
    },
    "openai": {
        "openai": {
            **dict.fromkeys(["chat", "completions", "embeddings", "response", "moderation"], "openai"),
            **dict.fromkeys(["speech", "transcription", "translation"], "openai"),
            **dict.fromkeys(["image", "image edit", "image variation"], "openai"),
            **dict.fromkeys(["models", "model"], "openai-models"),
            **dict.fromkeys(["response again", "response no longer", "response away"], "openai-responses"),
            **dict.fromkeys(["response input", "response tokens"], "openai-responses"),
        }
    },
    "anthropic": {
        "anthropic": {
            **dict.fromkeys(["message", "beta message", "tokens"], "anthropic"),
            **dict.fromkeys(["models", "model"], "anthropic-models"),
        }
    },
}


@pytest.mark.parametrize(
    ("preset", "sdk", "name", "route"),
    [
        (preset, sdk, name, route)
        for preset, sdks in NEEDED.items()
        for sdk, calls in sdks.items()
        for name, route in calls.items()
    ],
)
def test_a_call_of_an_sdk_passes(
    benches: dict[str, Bench], refusals: Refusals, preset: str, sdk: str, name: str, route: str
) -> None:
    method, target = request_of(refusals, sdk, SDKS[sdk][name])
    assert answer(benches[preset], method, target, KEY) == route
    assert answer(benches[preset], method, target) == "missing_credential"


PLAIN = [
    # What no SDK above asks: a WebSocket, a WebSocket of the Responses API, and a backend's own paths.
    ("openai", "GET", "/v1/realtime?model=gpt-realtime", "openai-realtime"),
    ("openai", "GET", "/v1/responses", "openai-realtime"),
    ("vllm", "GET", "/v1/realtime", "vllm-realtime"),
    ("vllm", "POST", "/v1/chat/completions/batch", "vllm"),
    ("vllm", "POST", "/rerank", "vllm"),
    ("vllm", "POST", "/v1/rerank", "vllm"),
    ("vllm", "POST", "/v2/rerank", "vllm"),
    ("vllm", "POST", "/v2/embed", "vllm"),
    ("vllm", "POST", "/score", "vllm"),
    ("vllm", "POST", "/v1/score", "vllm"),
    ("vllm", "POST", "/classify", "vllm"),
    ("vllm", "POST", "/pooling", "vllm"),
    ("vllm", "POST", "/generative_scoring", "vllm"),
    ("vllm", "POST", "/tokenize", "vllm"),
    ("vllm", "POST", "/detokenize", "vllm"),
    ("ollama", "GET", "/api/version", "ollama-models"),
    ("ollama", "HEAD", "/api/tags", "ollama-models"),
    ("llama-cpp", "POST", "/completion", "llama-cpp"),
    ("llama-cpp", "POST", "/infill", "llama-cpp"),
    ("llama-cpp", "POST", "/embedding", "llama-cpp"),
    ("llama-cpp", "POST", "/embeddings", "llama-cpp"),
    ("llama-cpp", "POST", "/rerank", "llama-cpp"),
    ("llama-cpp", "POST", "/reranking", "llama-cpp"),
    ("llama-cpp", "POST", "/v1/rerank", "llama-cpp"),
    ("llama-cpp", "POST", "/v1/reranking", "llama-cpp"),
    ("llama-cpp", "POST", "/tokenize", "llama-cpp"),
    ("llama-cpp", "POST", "/detokenize", "llama-cpp"),
    ("llama-cpp", "POST", "/apply-template", "llama-cpp"),
    ("llama-cpp", "POST", "/v1/chat/completions/input_tokens", "llama-cpp"),
]


@pytest.mark.parametrize(("preset", "method", "target", "route"), PLAIN)
def test_a_path_of_the_backends_own_passes(
    benches: dict[str, Bench], preset: str, method: str, target: str, route: str
) -> None:
    assert answer(benches[preset], method, target, KEY) == route
    assert answer(benches[preset], method, target) == "missing_credential"


def test_no_path_of_a_preset_is_there_for_nobody(refusals: Refusals) -> None:
    """Each is asked above, by an SDK or as it is; a line that nobody needs would be an open door for nothing."""
    by_sdk = {
        (preset, *request_of(refusals, sdk, SDKS[sdk][name]))
        for preset, sdks in NEEDED.items()
        for sdk, calls in sdks.items()
        for name in calls
    }
    asked = [
        (preset, method, target.partition("?")[0])
        for preset, method, target in by_sdk | {(preset, method, target) for preset, method, target, _ in PLAIN}
    ]
    for preset, parts in PRESETS.items():
        for part in parts:
            needed = [path for of, method, path in asked if of == preset and method in part.methods]
            unneeded = (
                []
                if part.public
                else [pattern for pattern in part.paths if not any(matches_path([pattern], path) for path in needed)]
            )
            assert unneeded == [], preset


@pytest.mark.parametrize(
    ("preset", "target"),
    [("vllm", "/health"), ("ollama", "/"), ("llama-cpp", "/health"), ("llama-cpp", "/v1/health")],
)
def test_the_health_check_needs_no_credential_and_only_reads(
    benches: dict[str, Bench], preset: str, target: str
) -> None:
    assert answer(benches[preset], "GET", target) == f"{preset}-health"
    assert answer(benches[preset], "HEAD", target) == f"{preset}-health"
    assert answer(benches[preset], "POST", target, KEY) == "no_route"


@pytest.mark.parametrize("preset", ["openai", "anthropic"])
@pytest.mark.parametrize("target", ["/", "/health", "/v1/health", "/v1"])
def test_a_provider_has_no_health_check(benches: dict[str, Bench], preset: str, target: str) -> None:
    assert answer(benches[preset], "GET", target, KEY) == "no_route"


# Administration.

CLOSED = {
    "vllm": [
        *(("POST", f"/{path}") for path in (
            "pause", "resume", "sleep", "wake_up", "collective_rpc", "update_weights", "init_weight_transfer_engine",
            "reset_prefix_cache", "reset_mm_cache", "reset_encoder_cache", "scale_elastic_ep", "is_scaling_elastic_ep",
            "abort_requests", "start_profile", "stop_profile", "invocations", "inference/v1/generate", "ping",
            "v1/load_lora_adapter", "v1/unload_lora_adapter", "v1/completions/render", "v1/chat/completions/render",
        )),
        *(("GET", f"/{path}") for path in (
            "metrics", "server_info", "is_paused", "is_sleeping", "get_world_size", "load", "version", "tokenizer_info",
            "docs", "redoc", "openapi.json", "ping",
        )),
        ("DELETE", "/v1/responses/resp_1"),
    ],
    "ollama": [
        *(("POST", f"/api/{path}") for path in (
            "pull", "push", "create", "copy", "me", "signout", "blobs/sha256:0", "experimental/web_search",
            "experimental/web_fetch",
        )),
        ("DELETE", "/api/delete"),
        ("DELETE", "/api/user/keys/x"),
        ("DELETE", "/v1/models/m"),
        ("HEAD", "/api/blobs/sha256:0"),
        ("GET", "/api/status"),
        ("GET", "/api/experimental/model-recommendations"),
        ("GET", "/api"),
    ],
    "llama-cpp": [
        ("GET", "/slots"),
        ("POST", "/slots/0?action=save"),
        ("POST", "/slots/0?action=restore"),
        ("POST", "/slots/0?action=erase"),
        ("GET", "/props"),
        ("POST", "/props"),
        ("GET", "/metrics"),
        ("GET", "/lora-adapters"),
        ("POST", "/lora-adapters"),
        ("GET", "/models"),
        ("POST", "/models"),
        ("DELETE", "/models?model=m"),
        ("POST", "/models/load"),
        ("POST", "/models/unload"),
        ("GET", "/models/sse"),
        ("GET", "/v1/streams"),
        ("GET", "/v1/stream/x"),
        ("DELETE", "/v1/stream/x"),
        ("POST", "/v1/chat/completions/control"),
        ("GET", "/cors-proxy?url=http://10.0.0.1/"),
        ("POST", "/cors-proxy?url=http://10.0.0.1/"),
        ("GET", "/tools"),
        ("POST", "/tools"),
        ("POST", "/predict"),
        ("GET", "/"),
    ],
    "openai": [
        *((method, f"/v1/{path}") for method in ("GET", "POST", "DELETE") for path in (
            "organization/admin_api_keys", "organization/users", "organization/projects/p/api_keys", "projects/p/roles",
            "files", "files/f", "uploads", "batches", "fine_tuning/jobs", "assistants", "threads", "vector_stores",
            "containers", "conversations", "evals", "skills", "videos", "realtime/client_secrets", "realtime/sessions",
            "realtime/calls",
        )),
        ("GET", "/v1/chat/completions"),
        ("GET", "/v1/chat/completions/chatcmpl-1"),
        ("DELETE", "/v1/models/ft:m"),
        ("DELETE", "/v1/responses"),
    ],
    "anthropic": [
        *((method, f"/v1/{path}") for method in ("GET", "POST", "DELETE") for path in (
            "organizations/api_keys", "organizations/users", "organizations/workspaces", "messages/batches",
            "messages/batches/b/results", "files", "skills", "agents", "sessions", "environments", "vaults",
            "memory_stores", "tunnels/t/reveal_token",
        )),
        ("GET", "/v1/messages"),
        ("DELETE", "/v1/models/m"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "method", "target"), [(preset, *closed) for preset, requests in CLOSED.items() for closed in requests]
)
def test_administration_matches_no_route(benches: dict[str, Bench], preset: str, method: str, target: str) -> None:
    """Attack: a caller with a good key stops the engine, loads other weights, or deletes the operator's models."""
    assert answer(benches[preset], method, target, KEY) == "no_route"


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.pull("m"),
        lambda c: c.push("m"),
        lambda c: c.create("m", from_="n"),
        lambda c: c.copy("m", "n"),
        lambda c: c.delete("m"),
        lambda c: c.create_blob(__file__),
    ],
)
def test_the_administration_of_ollamas_own_sdk_matches_no_route(
    benches: dict[str, Bench], refusals: Refusals, call: Call
) -> None:
    method, target = request_of(refusals, "ollama", call)
    assert answer(benches["ollama"], method, target, KEY) == "no_route"


TRICKS = [
    "{open}/..{closed}",
    "{open}/../..{closed}",
    "{open}/%2e%2e{closed}",
    "{open}/.%2E{closed}",
    "{open}/..%2f..{encoded}",
    "{open}%2f..{closed}",
    "{open}/..%5c..{closed}",
    "{open}/..;{closed}",
    "{open}/x;/..{closed}",
    "{open}/%252e%252e{closed}",
    "{open}/%20..%20{closed}",
    "{open}%00{closed}",
    "{open}\\..{closed}",
    "{open}#{closed}",
    "/.{closed}",
    "/{closed}",
    "/{closed}/",
    "{closed}/",
    "{closed}?x={open}",
    "{closed}%3fx",
    "{closed}%23",
    "{closed}%00",
    "{closed}.",
    "{percent}",
    "{upper}",
    "http://llm.example.com{closed}",
]


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize(
    ("preset", "method", "start", "closed"),
    [
        ("vllm", "POST", "/v1/responses", "/pause"),
        ("vllm", "POST", "/v1/responses", "/collective_rpc"),
        ("vllm", "POST", "/v1/chat/completions", "/v1/load_lora_adapter"),
        ("vllm", "GET", "/health", "/server_info"),
        ("vllm", "GET", "/v1/responses", "/metrics"),
        ("ollama", "POST", "/api/show", "/api/pull"),
        ("ollama", "GET", "/v1/models", "/api/status"),
        ("ollama", "DELETE", "/v1/models", "/api/delete"),
        ("llama-cpp", "POST", "/completion", "/slots/0"),
        ("llama-cpp", "GET", "/health", "/props"),
        ("openai", "GET", "/v1/models", "/v1/files"),
        ("openai", "POST", "/v1/responses", "/v1/fine_tuning/jobs"),
        ("openai", "DELETE", "/v1/responses", "/v1/files"),
        ("anthropic", "GET", "/v1/models", "/v1/organizations/users"),
    ],
)
def test_no_way_of_writing_leads_to_administration(
    benches: dict[str, Bench], preset: str, method: str, start: str, closed: str, trick: str
) -> None:
    """Attack: begin with an open path, public ones and those with a `*` above all, and end at a closed one."""
    target = trick.format(
        open=start,
        closed=closed,
        encoded=closed.replace("/", "%2f"),
        percent="/" + "".join(f"%{ord(letter):02x}" for letter in closed[1:]),
        upper=closed.upper(),
    )
    for headers in ([KEY], [KEY, ("X-HTTP-Method-Override", method)], []):
        assert answer(benches[preset], method, target, *headers) in (
            "no_route",
            "ambiguous_path",
            "malformed_subrequest",
        )


def test_no_pattern_of_a_preset_holds_what_is_closed() -> None:
    """A `*` opens all below it, what a backend adds there one day too: below these lie one caller's own things."""
    patterns = {pattern for parts in PRESETS.values() for part in parts for pattern in part.paths if "*" in pattern}
    assert patterns == {"/v1/responses/*", "/v1/models/*"}
    assert [part for parts in PRESETS.values() for part in parts if part.public and "*" in "".join(part.paths)] == []


# Where a preset stands.


def names(text: str) -> list[str]:
    return [route.name for route in snapshot(text.replace("AUTHENTICATORS", AUTHENTICATORS)).routes.routes]


def test_it_expands_in_place_under_its_own_name_or_the_entrys() -> None:
    assert names("""
        authenticators: AUTHENTICATORS
        routes:
          - {name: first, path: /first, require: ci}
          - {preset: anthropic, host: a.example.com, require: ci}
          - {preset: llama-cpp, name: small, host: b.example.com, require: ci}
          - {name: last, path: /*, require: ci}
    """) == ["first", "anthropic", "anthropic-models", "small", "small-models", "small-health", "last"]


def test_a_route_before_it_wins_and_one_behind_it_gets_the_rest() -> None:
    site = Bench(f"""
        authenticators: {AUTHENTICATORS}
        routes:
          - {{name: closed, path: /health, require: ci}}
          - {{preset: vllm, require: ci}}
          - {{name: operator, path: /metrics, require: ci}}
    """)
    assert answer(site, "GET", "/health") == "missing_credential"
    assert answer(site, "POST", "/tokenize", KEY) == "vllm"
    assert answer(site, "GET", "/metrics", KEY) == "operator"
    assert answer(site, "GET", "/version", KEY) == "no_route"


def test_what_stands_beside_it_holds_for_what_it_means() -> None:
    site = Bench(f"""
        authenticators: {AUTHENTICATORS}
        routes:
          - preset: vllm
            host: gpu.example.com
            require: ci
            errors: anthropic
            preflight: true
            pass_credentials: true
            encoded_slashes: true
            origins: ["https://app.example.com"]
            rate: 5/h
    """)
    *protected, health = site.snapshot.routes.routes
    assert [route.name for route in protected] == ["vllm", "vllm-models", "vllm-responses", "vllm-realtime"]
    for route in protected:
        assert route.requirement is not None
        assert (route.host, route.errors, route.preflight) == ("gpu.example.com", "anthropic", True)
        assert (route.pass_credentials, route.encoded_slashes) == ("true", True)
        assert route.origins == {b"https://app.example.com"}
    assert (health.name, health.host, health.errors, health.preflight) == (
        "vllm-health",
        "gpu.example.com",
        "anthropic",
        True,
    )
    assert (health.requirement, health.limit, health.pass_credentials, health.encoded_slashes) == (
        None,
        None,
        "false",
        False,
    )
    assert answer(site, "POST", "/v1/completions", KEY) == "no_route", "another host"


def test_one_rate_holds_for_all_of_it_and_not_for_its_health_check() -> None:
    site = bench("vllm", ", rate: 2/h")
    assert answer(site, "GET", "/v1/models", KEY) == "vllm-models"
    assert answer(site, "POST", "/v1/completions", KEY) == "vllm"
    assert answer(site, "POST", "/v1/completions", KEY) == "rate_limited"
    assert answer(site, "GET", "/v1/responses/resp_1", KEY) == "rate_limited"
    assert [answer(site, "GET", "/health") for _ in range(5)] == ["vllm-health"] * 5


def test_two_entries_have_two_rates() -> None:
    site = Bench(f"""
        authenticators: {AUTHENTICATORS}
        routes:
          - {{preset: anthropic, require: ci, rate: 1/h}}
          - {{preset: openai, require: ci, rate: 1/h}}
    """)
    assert answer(site, "POST", "/v1/messages", KEY) == "anthropic"
    assert answer(site, "POST", "/v1/messages", KEY) == "rate_limited"
    assert answer(site, "POST", "/v1/completions", KEY) == "openai"


@pytest.mark.parametrize("preset", PRESETS)
def test_no_two_of_its_routes_match_one_request(preset: str) -> None:
    routes = snapshot(f"authenticators: {AUTHENTICATORS}\nroutes: [{{preset: {preset}, require: ci}}]").routes.routes
    for one in routes:
        for other in routes:
            if one is not other and (one.methods or frozenset()) & (other.methods or frozenset()):
                for path in (pattern.removesuffix("*") for pattern in one.paths):
                    assert not matches_path(other.paths, path)


@pytest.mark.parametrize(
    ("routes", "found"),
    [
        ("[{preset: vlm, require: ci}]", {"routes[0].preset": "vllm, ollama, llama-cpp, openai, anthropic"}),
        ("[{preset: '', require: ci}]", {"routes[0].preset": "unknown preset"}),
        ("[{preset: 5, require: ci}]", {"routes[0].preset": "expected text", "routes[0].path": "is missing"}),
        ("[{preset: vllm, path: /x, require: ci}]", {"routes[0].path": "the preset brings its paths"}),
        ("[{preset: vllm, methods: [GET], require: ci}]", {"routes[0].methods": "the preset brings its methods"}),
        ("[{preset: vllm, public: true, require: ci}]", {"routes[0].public": "a preset protects"}),
        ("[{preset: vllm, public: true}]", {"routes[0].public": "a preset protects", "routes[0]": "expected require"}),
        ("[{preset: vllm}]", {"routes[0]": "expected require (who may pass)"}),
        ("[{preset: vllm, require: cj}]", {"routes[0].require": "no authenticator has the name 'cj'"}),
        ("[{preset: vllm, require: ci, rate: often}]", {"routes[0].rate": "expected a rate"}),
        ("[{preset: vllm, require: ci, host: 'a b'}]", {"routes[0].host": "expected a host name"}),
        ("[{preset: vllm, require: ci, name: 'a b'}]", {"routes[0].name": "expected a name"}),
        (
            "[{preset: vllm, require: ci}, {preset: vllm, require: ci, name: again}]",
            {"routes[1]": "never reached: routes[0]"},
        ),
        (
            "[{preset: vllm, require: ci, host: a.example}, {preset: vllm, require: ci, host: b.example}]",
            {"routes[1].name": "another route has this name"},
        ),
        (
            "[{preset: vllm, require: ci}, {name: vllm-health, path: /healthz, public: true}]",
            {"routes[1].name": "another route has this name"},
        ),
    ],
)
def test_what_cannot_be_meant_is_a_mistake(routes: str, found: dict[str, str]) -> None:
    told = mistakes(f"authenticators: {AUTHENTICATORS}\nroutes: {routes}\n")
    assert set(told) == set(found)
    for path, text in found.items():
        assert text in told[path]


def test_without_authentication_a_preset_is_still_an_allow_list() -> None:
    site = Bench(f"authenticators: {AUTHENTICATORS}\nrequire_auth: false\nroutes: [{{preset: vllm, require: ci}}]")
    assert answer(site, "POST", "/v1/completions") == "vllm"
    assert answer(site, "POST", "/pause") == "no_route"
