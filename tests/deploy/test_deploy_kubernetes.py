"""The files for Kubernetes: that an API server takes them, that they fit each other, and what they do.

No cluster runs here. The real Traefik reads the shipped objects from an API server of the rig; the real nginx and Envoy
run with what ingress-nginx and Envoy Gateway make of them.
"""

from __future__ import annotations

import copy
import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from forwardauth import __version__
from forwardauth.cli import main
from forwardauth.config.presets import PRESETS
from forwardauth.core.guard import COMMON
from forwardauth.core.reply import IDENTITY_FIELDS
from forwardauth.gateways import GATEWAYS
from tests.building import snapshot
from tests.deploy.rig.backend import Backend
from tests.deploy.rig.client import HOST, Answer, Client, render
from tests.deploy.rig.deployment import Deploy, Deployment
from tests.deploy.rig.files import DEPLOY, fenced
from tests.deploy.rig.gateways import Gateway
from tests.deploy.rig.gateways.envoy_gateway import EnvoyGateway
from tests.deploy.rig.gateways.ingress_nginx import PREFIX, IngressNginx
from tests.deploy.rig.gateways.traefik_crd import TraefikCrd
from tests.deploy.rig.kubernetes import FOLDER, Object, found, objects
from tests.deploy.rig.programs import Program, free_ports, wait_until
from tests.deploy.rig.service import SERVE, Setup, environment
from tests.deploy.rig.setups import TOKEN, basic, token

SCHEMAS = yaml.safe_load((Path(__file__).parent / "schemas" / "custom-resources.yml").read_text())
GATEWAY_FILES = ["traefik.yml", "ingress-nginx.yml", "envoy-gateway.yml"]
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yml").read_text())
OWN = [each for name in KUSTOMIZATION["resources"] for each in objects(name)]
THEIRS = [each for name in GATEWAY_FILES for each in objects(name)]


def title(each: Object) -> str:
    return f"{each['kind']} {each['metadata']['name']}"


# An API server takes them.


def custom(each: Object) -> dict[str, Any] | None:
    schema: dict[str, Any] | None = SCHEMAS.get(f"{each['apiVersion']} {each['kind']}")
    return schema


BUILT_IN = [each for each in OWN + THEIRS if custom(each) is None]
CUSTOM = [each for each in THEIRS if custom(each) is not None]


@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("each", BUILT_IN, ids=title)
def test_an_object_fits_kubernetes_own_schema(each: Object, version: str) -> None:
    """Strictly: a field that is misspelt is refused, not ignored."""
    kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("each", CUSTOM, ids=title)
def test_a_custom_resource_fits_its_schema(each: Object) -> None:
    assert set(each) == {"apiVersion", "kind", "metadata", "spec"}
    jsonschema.validate(each["spec"], custom(each))


@pytest.mark.parametrize(
    ("kind", "path", "wrong"),
    [
        ("Middleware", ["forwardAuth"], {"authResponseHeadersRegexp": "^X-Auth-"}),
        ("Middleware", ["forwardAuth"], {"trustForwardHeader": "false"}),
        ("IngressRoute", ["routes", 0], {"middleware": []}),
        ("SecurityPolicy", ["extAuth"], {"failopen": False}),
        ("SecurityPolicy", ["extAuth", "http"], {"headersToUpstream": []}),
        ("HTTPRoute", ["rules", 0, "filters", 0], {"type": "RequestHeadersModifier"}),
    ],
)
def test_a_misspelt_field_of_a_custom_resource_is_found(kind: str, path: list[Any], wrong: dict[str, Any]) -> None:
    each = copy.deepcopy(found(THEIRS, kind))
    place = each["spec"]
    for step in path:
        place = place[step]
    place |= wrong
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(each["spec"], custom(each))


def test_every_file_is_a_resource_or_a_gateways() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {"kustomization.yml"}
    assert files == {*KUSTOMIZATION["resources"], *GATEWAY_FILES}
    assert set(KUSTOMIZATION) == {"apiVersion", "kind", "namespace", "resources", "images"}


def test_no_file_holds_a_secret() -> None:
    assert [title(each) for each in OWN + THEIRS if each["kind"] == "Secret"] == []


# They fit each other.

DEPLOYMENT = found(OWN, "Deployment")
POD = DEPLOYMENT["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
SERVICE = found(OWN, "Service")
ENV = {variable["name"]: variable["value"] for variable in CONTAINER["env"]}
FILE = found(OWN, "ConfigMap")["data"]["forwardauth.yml"]


def test_the_selectors_choose_the_pods() -> None:
    labels = POD["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert SERVICE["spec"]["selector"].items() <= labels.items()
    assert found(OWN, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_listeners_are_where_the_ports_say() -> None:
    assert {
        "decisions": int(ENV["FORWARDAUTH_LISTEN"].rpartition(":")[2]),
        "admin": int(ENV["FORWARDAUTH_ADMIN"].rpartition(":")[2]),
    } == PORTS


def test_the_service_leads_to_the_decisions_and_nowhere_else() -> None:
    assert SERVICE["spec"]["type"] == "ClusterIP"
    assert [(port["targetPort"], port["port"]) for port in SERVICE["spec"]["ports"]] == [
        ("decisions", PORTS["decisions"])
    ]


def test_only_a_gateway_may_ask_and_only_prometheus_may_look() -> None:
    policy = found(OWN, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []
    rules = {rule["ports"][0]["port"]: rule["from"] for rule in policy["ingress"]}
    assert set(rules) == set(PORTS)
    for sources in rules.values():
        (source,) = sources
        assert source["namespaceSelector"]["matchLabels"], "an empty selector is every namespace"


def test_the_pod_may_do_nothing_that_it_does_not_need() -> None:
    pod = POD["spec"]
    assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
    assert pod["securityContext"] | {"runAsUser": 0, "runAsGroup": 0} == {
        "runAsNonRoot": True,
        "runAsUser": 0,
        "runAsGroup": 0,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["securityContext"]["runAsUser"] == int(
        re.findall(r"(?m)^USER (\d+):", (DEPLOY.parent / "Dockerfile").read_text())[-1]
    )
    assert CONTAINER["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert set(CONTAINER["resources"]["requests"]) == {"cpu", "memory"}
    assert set(CONTAINER["resources"]["limits"]) == {"memory"}
    assert found(OWN, "Namespace")["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_it_has_time_to_end() -> None:
    """The sleep, and 25 seconds for what is in flight (docs/operations.md)."""
    sleep = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert POD["spec"]["terminationGracePeriodSeconds"] >= sleep + 25


def test_the_image_is_this_version() -> None:
    (image,) = KUSTOMIZATION["images"]
    assert image == {"name": CONTAINER["image"], "newTag": __version__}


def test_the_configuration_is_where_the_service_looks() -> None:
    (mount,) = CONTAINER["volumeMounts"]
    (volume,) = POD["spec"]["volumes"]
    assert volume == {"name": mount["name"], "configMap": {"name": found(OWN, "ConfigMap")["metadata"]["name"]}}
    assert ENV["FORWARDAUTH_CONFIG"] == f"{mount['mountPath']}/forwardauth.yml"
    assert "subPath" not in mount


def test_the_configurations_variables_are_the_secrets_that_the_steps_make() -> None:
    (source,) = CONTAINER["envFrom"]
    needed = set(re.findall(r"\$\{([A-Z_]+)\}", FILE))
    for steps in ((FOLDER / "kustomization.yml").read_text(), *fenced("kubernetes.md", "sh")):
        if "create secret" in steps:
            assert f"create secret generic {source['secretRef']['name']} " in steps
            assert set(re.findall(r"--from-literal=([A-Z_]+)=", steps)) == needed
            break
    else:
        pytest.fail("nobody makes the secret")


@pytest.mark.parametrize(
    ("kind", "dialect", "url"),
    [
        ("Middleware", "traefik", lambda spec: spec["spec"]["forwardAuth"]["address"]),
        ("Ingress", "nginx", lambda spec: spec["metadata"]["annotations"][f"{PREFIX}auth-url"]),
    ],
)
def test_a_gateway_asks_the_service_in_its_own_dialect(kind: str, dialect: str, url: Any) -> None:
    asked = urlsplit(url(found(THEIRS, kind)))
    name, namespace = SERVICE["metadata"]["name"], KUSTOMIZATION["namespace"]
    assert (asked.scheme, asked.query) == ("http", "")
    assert asked.netloc == f"{name}.{namespace}.svc.cluster.local:{PORTS['decisions']}"
    assert asked.path == GATEWAYS[dialect].path


def test_envoy_gateway_asks_the_service_in_its_own_dialect() -> None:
    policy, grant = found(THEIRS, "SecurityPolicy"), found(THEIRS, "ReferenceGrant")
    http = policy["spec"]["extAuth"]["http"]
    name, namespace = SERVICE["metadata"]["name"], KUSTOMIZATION["namespace"]
    assert http["backendRefs"] == [{"name": name, "namespace": namespace, "port": PORTS["decisions"]}]
    assert http["path"] == GATEWAYS["envoy"].path
    assert policy["spec"]["extAuth"]["failOpen"] is False
    assert policy["spec"]["targetRefs"] == [
        {
            "group": "gateway.networking.k8s.io",
            "kind": "HTTPRoute",
            "name": found(THEIRS, "HTTPRoute")["metadata"]["name"],
        }
    ]
    assert grant["metadata"]["namespace"] == namespace
    assert grant["spec"] == {
        "from": [
            {"group": "gateway.envoyproxy.io", "kind": "SecurityPolicy", "namespace": policy["metadata"]["namespace"]}
        ],
        "to": [{"group": "", "kind": "Service", "name": name}],
    }


def test_the_route_names_the_middleware_of_its_own_namespace() -> None:
    middleware, route = found(THEIRS, "Middleware")["metadata"], found(THEIRS, "IngressRoute")
    assert route["metadata"]["namespace"] == middleware["namespace"]
    for each in route["spec"]["routes"]:
        assert each["middlewares"] == [{"name": middleware["name"]}]


def test_the_middleware_says_what_the_dynamic_file_says() -> None:
    dynamic = yaml.safe_load((DEPLOY / "traefik/dynamic.yml").read_text())
    expected = dynamic["http"]["middlewares"]["forwardauth"]["forwardAuth"]
    assert found(THEIRS, "Middleware")["spec"]["forwardAuth"] | {"address": expected["address"]} == expected


# Every name that decides is on the gateways' lists.

IDENTITY = set(IDENTITY_FIELDS.values())
CREDENTIALS = set(snapshot("routes: [{path: /*, public: true}]").credential_headers.values())


def test_ingress_nginx_replaces_identity_and_credentials() -> None:
    listed = found(THEIRS, "Ingress")["metadata"]["annotations"][f"{PREFIX}auth-response-headers"].split(",")
    assert sorted(listed) == sorted(IDENTITY | CREDENTIALS)


def test_envoy_gateway_replaces_identity_and_removes_credentials() -> None:
    policy, route = found(THEIRS, "SecurityPolicy")["spec"]["extAuth"], found(THEIRS, "HTTPRoute")["spec"]
    assert set(policy["http"]["headersToBackend"]) == IDENTITY
    for rule in route["rules"]:
        (headers,) = rule["filters"]
        assert set(headers["requestHeaderModifier"]["remove"]) == CREDENTIALS


def test_envoy_gateway_hands_on_every_header_that_decides() -> None:
    """It sends none by itself but Authorization and Host."""
    listed = {name.lower().encode() for name in found(THEIRS, "SecurityPolicy")["spec"]["extAuth"]["headersToExtAuth"]}
    overrides = {b"x-http-method-override", b"x-http-method", b"x-method-override"}
    credentials = {name.lower().encode() for name in CREDENTIALS} | {b"cookie"}
    read = GATEWAYS["envoy"].headers | COMMON | overrides | credentials
    assert listed == read - {b"authorization", b"host"}


# The configuration.


def check(tmp_path: Path, text: str, **env: str) -> tuple[int, str]:
    (tmp_path / "forwardauth.yml").write_text(text)
    result = CliRunner(env=env).invoke(main, ["check", "--config", str(tmp_path / "forwardauth.yml")])
    return result.exit_code, result.output


@pytest.mark.parametrize("dialect", ["traefik", "nginx", "envoy"])
@pytest.mark.parametrize("preset", PRESETS)
def test_the_configuration_has_no_mistakes(tmp_path: Path, dialect: str, preset: str) -> None:
    """With every word that its comments offer."""
    assert dialect in FILE
    assert preset in FILE
    text = FILE.replace("gateways: [traefik]", f"gateways: [{dialect}]").replace("preset: vllm", f"preset: {preset}")
    code, output = check(tmp_path, text, CI_TOKEN="a-token")
    assert (code, output.splitlines()[1]) == (0, f"gateways: {dialect}")
    assert "warning" not in output


def test_without_its_secret_it_does_not_start(tmp_path: Path) -> None:
    code, output = check(tmp_path, FILE)
    assert code == 2
    assert "CI_TOKEN is not set" in output
    assert check(tmp_path, FILE, CI_TOKEN="")[0] == 2


class Pod:
    """The service with the Deployment's variables, on loopback, and the ConfigMap as the kubelet lays it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "etc"
        self.folder.mkdir()
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        addresses = {
            "FORWARDAUTH_LISTEN": f"127.0.0.1:{self.ports['decisions']}",
            "FORWARDAUTH_ADMIN": f"127.0.0.1:{self.ports['admin']}",
            "FORWARDAUTH_CONFIG": str(self.folder / "forwardauth.yml"),
        }
        assert set(addresses) == set(ENV)
        self.lay(FILE)
        self.program = Program(SERVE, folder / "log", environment(("CI_TOKEN", TOKEN), *addresses.items()))

    def lay(self, text: str) -> None:
        """A new folder, and a link to it that is replaced at once (kubelet's AtomicWriter)."""
        new = self.folder / f"..{len(list(self.folder.iterdir()))}"
        new.mkdir()
        (new / "forwardauth.yml").write_text(text)
        (self.folder / "..new").symlink_to(new.name)
        (self.folder / "..new").replace(self.folder / "..data")
        if not (self.folder / "forwardauth.yml").is_symlink():
            (self.folder / "forwardauth.yml").symlink_to("..data/forwardauth.yml")

    def start(self) -> None:
        self.program.start()
        self.program.wait_until(lambda: self.probe("startupProbe") == 200, "the pod has started")

    def stop(self) -> None:
        assert self.program.stop() == 0

    def get(self, port: str, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=5)
        try:
            # The kubelet asks by the pod's address.
            connection.request("GET", path, headers={"Host": "10.1.2.3:9000"})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def probe(self, name: str) -> int:
        asked = CONTAINER[name]["httpGet"]
        return self.get(asked["port"], asked["path"])


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    pod = Pod(tmp_path_factory.mktemp("pod"))
    pod.start()
    yield pod
    pod.stop()


@pytest.mark.parametrize("probe", ["startupProbe", "livenessProbe", "readinessProbe"])
def test_a_probe_is_answered_on_its_port_alone(pod: Pod, probe: str) -> None:
    asked = CONTAINER[probe]["httpGet"]
    (other,) = set(PORTS) - {asked["port"]}
    assert pod.probe(probe) == 200
    assert pod.get(other, asked["path"]) == 404


def test_what_the_kubelet_writes_is_in_force_without_a_restart(pod: Pod) -> None:
    pod.lay(FILE.replace("preset: vllm", "preset: nonsense"))
    wait_until(lambda: "unknown preset" in pod.program.log, "the mistake is told")
    assert pod.probe("livenessProbe") == 200
    pod.lay(FILE.replace("preset: vllm", "preset: ollama"))
    wait_until(lambda: asked(pod, "/api/tags") == 200, "the new route passes")
    assert asked(pod, "/v1/score") == 403


def asked(pod: Pod, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", pod.ports["decisions"], timeout=5)
    try:
        connection.request(
            "GET",
            "/verify/traefik",
            headers={
                "X-Forwarded-Method": "GET",
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Host": HOST,
                "X-Forwarded-Uri": path,
                "X-Forwarded-For": "192.0.2.1",
                "X-API-Token": TOKEN,
            },
        )
        return connection.getresponse().status
    finally:
        connection.close()


# What they do, on real gateways.

SETUP = Setup(
    env=(("CI_TOKEN", TOKEN),),
    config=f"""
server: {{gateways: [traefik, nginx, envoy]}}
{FILE[FILE.index("authenticators:") : FILE.index("routes:")]}
routes:
  - {{name: limited, path: /limited, require: ci, rate: 1/h}}
  - {{name: passing, path: /passing, require: ci, pass_credentials: true}}
  - {{name: stream, path: /v1/stream, require: ci}}
  - {{preset: vllm, require: ci}}
""",
)
KINDS: list[type[Gateway]] = [TraefikCrd, IngressNginx, EnvoyGateway]


def client_of(site: Deployment) -> Client:
    return Client(site.gateway.port, site.sources.next(), tls=isinstance(site.gateway, TraefikCrd))


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> type[Gateway]:
    made: type[Gateway] = request.param
    return made


@pytest.fixture
def site(kind: type[Gateway], deploy: Deploy) -> Deployment:
    return deploy(kind, SETUP)


@pytest.fixture
def client(site: Deployment) -> Client:
    return client_of(site)


def test_traefik_has_nothing_to_say_about_the_objects(deploy: Deploy) -> None:
    site = deploy(TraefikCrd, SETUP)
    assert client_of(site).get("/v1/models", token()).status == 200
    lines = [json.loads(line) for line in site.gateway.log.splitlines()]
    assert [line for line in lines if line["level"] != "info"] == []


def test_the_backend_reads_who_is_calling_and_no_credential(client: Client, backend: Backend) -> None:
    """Attack: name yourself, and hope that the backend believes it; or let a key travel on to the backend's log."""
    claims = [(name, "admin") for name in IDENTITY_FIELDS.values()]
    keys = [token(), basic(), ("X-Api-Key", "sk-other")]
    assert client.post("/v1/chat/completions", *claims, *keys, body=b'{"model": "m"}').status == 200
    seen = backend.last
    assert seen.body == b'{"model": "m"}'
    assert {name: seen.one(name) for name in IDENTITY_FIELDS.values()} == {
        "X-Auth-User": "",
        "X-Auth-Email": "",
        "X-Auth-Groups": "",
        "X-Auth-Tenant": "",
        "X-Auth-Key": "ci",
        "X-Auth-Method": "ci",
    }
    assert [seen.one(name) for name in CREDENTIALS] == [""] * len(CREDENTIALS)


def test_a_public_path_tells_the_backend_nobody(client: Client, backend: Backend) -> None:
    assert client.get("/health", ("X-Auth-User", "admin"), ("X-Auth-Key", "ci")).status == 200
    assert [backend.last.one(name) for name in IDENTITY] == [""] * len(IDENTITY)


def test_credentials_that_a_route_hands_on_arrive_where_the_gateway_can(
    kind: type[Gateway], client: Client, backend: Backend
) -> None:
    """Envoy Gateway removes them after the question, whatever the answer was."""
    assert client.get("/passing", token()).status == 200
    assert backend.last.one("X-API-Token") == ("" if kind is EnvoyGateway else TOKEN)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/pause"),
        ("POST", "/collective_rpc"),
        ("GET", "/metrics"),
        ("POST", "//pause"),
        ("POST", "/v1/responses/%2e%2e/%2e%2e/pause"),
        ("POST", "/v1/responses/..%2f..%2fpause"),
        ("POST", "/v1/responses/..;/pause"),
        ("GET", "/health/../metrics"),
        ("GET", "/health/%2e%2e/metrics"),
        ("DELETE", "/v1/models"),
    ],
)
def test_administration_stays_closed_through_the_gateway(
    client: Client, backend: Backend, method: str, target: str
) -> None:
    answer = client.request(method, target, [token()])
    assert answer.status in (307, 400, 403, 404)
    assert backend.seen == []
    if answer.status == 307:
        assert client.request(method, answer.all("Location")[0], [token()]).status in (400, 403)
        assert backend.seen == []


@pytest.mark.parametrize(
    "planted",
    [
        [("X-Original-URL", f"https://{HOST}/health")],
        [("X-Original-Method", "POST"), ("X-Original-URI", "/health")],
        [("X-Forwarded-Uri", "/health"), ("X-Forwarded-Method", "GET"), ("X-Forwarded-Host", "other.example.com")],
        [("X-Rewrite-Url", "/health"), ("X-Envoy-Original-Path", "/health")],
        [("X-Deny-Status", "200"), ("X-Auth-Request-Redirect", "/health")],
    ],
)
def test_a_client_cannot_describe_its_request(client: Client, backend: Backend, planted: list[tuple[str, str]]) -> None:
    assert client.get("/v1/models", *planted).status == 401
    assert client.get("/metrics", token(), *planted).status == 403
    assert backend.seen == []


def test_a_client_cannot_choose_its_address(site: Deployment, client: Client) -> None:
    """The audit names the neighbour of the gateway, whatever stands in X-Forwarded-For before it."""
    for header in ("X-Forwarded-For", "X-Real-IP", "True-Client-IP"):
        assert client.get("/v1/models", token(), (header, "10.9.8.7")).status == 200
    assert '"client":"10.9.8.7"' not in site.audit(client, 3)


@pytest.mark.parametrize("name", ["X_Auth_User", "X.Auth.User"])
def test_a_look_alike_does_not_reach_the_backend(
    kind: type[Gateway], client: Client, backend: Backend, name: str
) -> None:
    """Attack: `X_Auth_User` is `X-Auth-User` to a WSGI backend, and so is `X.Auth.User`.

    nginx drops both, Traefik's entry point refuses both; Envoy Gateway refuses the first, and the page tells of the
    second.
    """
    answer = client.get("/v1/models", token(), (name, "admin"))
    assert answer.status in (200, 400)
    arrived = [value for seen in backend.seen for value in seen.all(name)]
    assert arrived == (["admin"] if (kind, name) == (EnvoyGateway, "X.Auth.User") else [])


DENIALS = {
    "missing": (401, "missing_token_header"),
    "wrong": (401, "invalid_token"),
    "closed": (403, "no_route"),
    "ambiguous": (400, "ambiguous_path"),
    "limited": (429, "rate_limit_exceeded"),
}


def denied(client: Client, name: str) -> Answer:
    if name == "limited":
        assert client.get("/limited", token()).status == 200
        return client.get("/limited", token())
    target = {"closed": "/metrics", "ambiguous": "/v1/a%5cb"}.get(name, "/v1/models")
    headers = {"missing": [], "wrong": [("X-API-Token", "guessed")]}.get(name, [token()])
    return client.get(target, *headers)


@pytest.mark.parametrize("name", DENIALS)
def test_a_denial_arrives_as_the_page_says(kind: type[Gateway], client: Client, name: str) -> None:
    """ingress-nginx carries 401 and 403 and no body; what is ambiguous ends at the other two themselves."""
    answer = denied(client, name)
    status, code = DENIALS[name]
    if kind is IngressNginx:
        assert (answer.status, answer.code) == (401 if status == 401 else 403, "")
        assert answer.all("Content-Type") == ["text/html"]
        assert answer.all("Retry-After") == []
    elif name == "ambiguous":
        assert (answer.status, answer.code) == (307 if kind is EnvoyGateway else 400, "")
    else:
        assert (answer.status, answer.code) == (status, code)
        assert bool(answer.all("Retry-After")) == (name == "limited")
    assert bool(answer.all("WWW-Authenticate")) == (answer.status == 401)


def test_nobody_passes_while_the_service_is_down(site: Deployment, client: Client, backend: Backend) -> None:
    site.service.stop()
    try:
        for target in ("/v1/models", "/health"):
            assert client.get(target, token()).status in site.gateway.service_down
        assert backend.seen == []
    finally:
        site.service.start()
    assert client.get("/v1/models", token()).status == 200


HOSTS = Setup(
    env=SETUP.env,
    config=f"""
server: {{gateways: [traefik, nginx, envoy]}}
{FILE[FILE.index("authenticators:") : FILE.index("routes:")]}
routes:
  - {{name: open, host: public.example.com, path: /*, public: true}}
  - {{name: closed, host: {HOST}, path: /*, require: ci}}
""",
)


def test_a_routes_host_decides_but_on_ingress_nginx(kind: type[Gateway], deploy: Deploy, backend: Backend) -> None:
    """Attack: the target names the host that the gateway serves, and Host the one that is open.

    ingress-nginx asks about Host and serves the other: there the page forbids `host:`.
    """
    site = deploy(kind, HOSTS)
    client = client_of(site)
    assert client.get("/secret").status == 401
    answer = client.get(f"{'https' if client.tls else 'http'}://{HOST}/secret", host="public.example.com")
    if kind is IngressNginx:
        assert (answer.status, backend.last.target) == (200, "/secret")
    else:
        assert answer.status in (400, 401, 404)
        assert backend.seen == []


def test_a_stream_comes_as_it_is_sent(client: Client, backend: Backend) -> None:
    with client.connect() as connection:
        connection.send(render("GET", "/v1/stream", [token()]))
        with connection.open_response() as response:
            assert response.readline() == b"data: first\n"
            backend.go_on.set()
            assert b"second" in response.read()


# The page.


PAGE = DEPLOY.parent / "docs/gateways/kubernetes.md"


def test_the_page_shows_the_middleware_as_it_is() -> None:
    blocks = [yaml.safe_load(block) for block in fenced(PAGE.name, "yaml other")]
    assert found(blocks, "Middleware")["spec"] == found(THEIRS, "Middleware")["spec"]
    kubernetes_validate.validate(found(blocks, "NetworkPolicy"), "1.31", strict=True)


def test_the_page_names_every_file() -> None:
    page = PAGE.read_text()
    assert [path.name for path in FOLDER.iterdir() if f"(../../deploy/kubernetes/{path.name})" not in page] == []
