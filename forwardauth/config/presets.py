"""Route presets: the paths that clients of a well-known backend need. Knows backends by their documentation alone.

A preset is an allow-list. What a backend has beyond it (administration, other callers' state, what its web interface
needs) is closed because no route matches it, and so is what its next version adds.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from forwardauth.config.settings import RouteSettings

_READ = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Part:
    """Paths that share their methods: one route. Its name is the entry's, with `-word` where there is a word.

    `public` is for a health check that tells nothing but its health.
    """

    word: str
    methods: tuple[str, ...]
    paths: tuple[str, ...]
    public: bool = False


PRESETS: dict[str, tuple[Part, ...]] = {
    # vllm-project/vllm: docs/usage/security.md lists every path and names the dangerous ones;
    # docs/serving/online_serving/README.md says what each is for, vllm/entrypoints/**/api_router.py the methods.
    # Left out beside administration: /invocations and /inference/v1/generate, which lead to every task by another
    # path; */render, which serves a disaggregated deployment; /version and /load, which clients do not ask.
    "vllm": (
        Part(
            "",
            ("POST",),
            (
                "/v1/chat/completions",
                "/v1/chat/completions/batch",
                "/v1/completions",
                "/v1/responses",
                "/v1/messages",
                "/v1/messages/count_tokens",
                "/v1/embeddings",
                "/v1/audio/transcriptions",
                "/v1/audio/translations",
                "/v1/score",
                "/v1/rerank",
                "/v2/embed",
                "/v2/rerank",
                "/score",
                "/rerank",
                "/classify",
                "/pooling",
                "/generative_scoring",
                "/tokenize",
                "/detokenize",
            ),
        ),
        Part("models", ("GET",), ("/v1/models",)),
        # /{response_id}, and /{response_id}/cancel by POST.
        Part("responses", ("GET", "POST"), ("/v1/responses/*",)),
        Part("realtime", ("GET",), ("/v1/realtime",)),
        Part("health", _READ, ("/health",), public=True),
    ),
    # ollama/ollama: server/routes.go; docs/api.md, docs/api/openai-compatibility.mdx, anthropic-compatibility.mdx.
    # Left out beside administration (pull, push, create, copy, delete, blobs): /api/me, /api/signout and
    # /api/experimental/*, which act with the operator's own account at ollama.com.
    "ollama": (
        Part(
            "",
            ("POST",),
            (
                "/api/chat",
                "/api/generate",
                "/api/embed",
                "/api/embeddings",
                "/api/show",
                "/v1/chat/completions",
                "/v1/completions",
                "/v1/responses",
                "/v1/messages",
                "/v1/embeddings",
                "/v1/audio/transcriptions",
            ),
        ),
        Part("models", _READ, ("/api/tags", "/api/ps", "/api/version", "/v1/models", "/v1/models/*")),
        # The command line asks it without a credential before anything else (api/client.go, Heartbeat).
        Part("health", _READ, ("/",), public=True),
    ),
    # ggml-org/llama.cpp: tools/server/README.md; tools/server/server.cpp.
    # Left out beside administration (/slots, /props, /lora-adapters, /models/load, /models/unload): /models, which in
    # router mode downloads by POST and deletes by DELETE; /tools and /cors-proxy, which make the server run programs
    # and send requests; /v1/streams, which lists other callers' streams; the web interface.
    "llama-cpp": (
        Part(
            "",
            ("POST",),
            (
                "/v1/chat/completions",
                "/v1/chat/completions/input_tokens",
                "/v1/completions",
                "/v1/responses",
                "/v1/responses/input_tokens",
                "/v1/messages",
                "/v1/messages/count_tokens",
                "/v1/embeddings",
                "/v1/audio/transcriptions",
                "/v1/rerank",
                "/v1/reranking",
                "/completion",
                "/infill",
                "/embedding",
                "/embeddings",
                "/rerank",
                "/reranking",
                "/tokenize",
                "/detokenize",
                "/apply-template",
            ),
        ),
        Part("models", _READ, ("/v1/models",)),
        Part("health", _READ, ("/health", "/v1/health"), public=True),
    ),
    # The OpenAI API reference, as in openai/openai-python: api.md.
    # Left out: what all callers of one key would share (files, batches, vector stores, conversations, stored
    # completions, fine-tuning, videos), the organization's administration, and /v1/realtime/client_secrets, /sessions
    # and /calls, which hand out ways past the gateway.
    "openai": (
        Part(
            "",
            ("POST",),
            (
                "/v1/chat/completions",
                "/v1/completions",
                "/v1/responses",
                "/v1/embeddings",
                "/v1/moderations",
                "/v1/audio/speech",
                "/v1/audio/transcriptions",
                "/v1/audio/translations",
                "/v1/images/generations",
                "/v1/images/edits",
                "/v1/images/variations",
            ),
        ),
        Part("models", ("GET",), ("/v1/models", "/v1/models/*")),
        # /{response_id}, /{response_id}/input_items; by POST /{response_id}/cancel, /compact, /input_tokens.
        Part("responses", ("DELETE", "GET", "POST"), ("/v1/responses/*",)),
        # WebSockets: the Realtime API, and the Responses API in its other form.
        Part("realtime", ("GET",), ("/v1/realtime", "/v1/responses")),
    ),
    # The Anthropic API reference, as in anthropics/anthropic-sdk-python: api.md.
    # Left out: what all callers of one key would share (message batches, files, skills, sessions, memory stores,
    # vaults), and the organization's administration.
    "anthropic": (
        Part("", ("POST",), ("/v1/messages", "/v1/messages/count_tokens")),
        Part("models", ("GET",), ("/v1/models", "/v1/models/*")),
    ),
}
"""What each preset means: its routes, none of which overlaps another."""


def preset_mistakes(entry: RouteSettings) -> Iterator[tuple[str, str]]:
    """What cannot stand beside `preset`, by key; nothing for an entry without one."""
    if entry.preset is None:
        return
    if entry.preset not in PRESETS:
        yield "preset", f"unknown preset; known here: {', '.join(PRESETS)}"
    if entry.path is not None:
        yield "path", "the preset brings its paths; for more of them write a route of their own"
    if entry.methods is not None:
        yield "methods", "the preset brings its methods"
    if entry.public:
        yield "public", "a preset protects; what is public in it is public already"


def expand(entry: RouteSettings) -> list[RouteSettings]:
    """The routes that an entry means: itself, or those of its preset; none where the preset is unknown."""
    if entry.preset is None:
        return [entry]
    return [_route(entry, part) for part in PRESETS.get(entry.preset, ())]


def _route(entry: RouteSettings, part: Part) -> RouteSettings:
    name = "-".join(filter(None, (entry.name or entry.preset, part.word)))
    paths, methods = list(part.paths), list(part.methods)
    if not part.public:
        return replace(entry, path=paths, methods=methods, name=name, public=False)
    # Nothing that is about callers: a rate, which is per client there, would turn a load balancer's checks away.
    return RouteSettings(
        path=paths,
        methods=methods,
        name=name,
        public=True,
        host=entry.host,
        preflight=entry.preflight,
        errors=entry.errors,
    )
