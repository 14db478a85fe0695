"""`forwardauth check`."""

from pathlib import Path

from click.testing import CliRunner

from forwardauth.cli import main

CONFIGURATION = """
server: {gateways: [traefik]}
authenticators:
  staff: {basic: {users: ["alice:{SHA}MXmmXv8lI7veU8mbKZtxnBCjUjU="]}}
  ci: {token: {tokens: [{name: ci, value: right-token}]}}
  office: {network: {allow: [10.8.0.0/16]}}
routes:
  - {name: health, path: /health, public: true}
  - name: chat
    host: api.example.com
    path: [/v1/*, /v2/*]
    methods: [POST, GET]
    require: {all: [staff, {any: [ci, office]}]}
"""


def check(tmp_path: Path, text: str) -> tuple[int, str, str]:
    (tmp_path / "forwardauth.yml").write_text(text)
    result = CliRunner().invoke(main, ["check", "--config", str(tmp_path / "forwardauth.yml")])
    return result.exit_code, result.stdout, result.stderr


def test_it_prints_the_effective_routes_in_order_and_what_is_denied(tmp_path: Path) -> None:
    code, out, _ = check(tmp_path, CONFIGURATION)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[1:] == [
        "gateways: traefik",
        "route methods host path who may pass",
        "health * * /health everybody",
        "chat GET,POST api.example.com /v1/* /v2/* staff and (ci or office)",
        "- * * anything else nobody (403 no_route)",
    ]


def test_it_warns_of_a_bypass_where_the_gateways_are(tmp_path: Path) -> None:
    _, _, err = check(tmp_path, CONFIGURATION)
    assert "warning: authenticator office lets 10.8.0.0/16 pass, where trusted peers are too" in err


def test_it_prints_no_secret(tmp_path: Path) -> None:
    _, out, err = check(tmp_path, CONFIGURATION)
    assert "right-token" not in out + err
    assert "MXmmXv8l" not in out + err


def test_the_paths_of_a_preset_stand_below_each_other(tmp_path: Path) -> None:
    text = CONFIGURATION + "  - {preset: vllm, host: gpu.example.com, require: ci}\n"
    code, out, _ = check(tmp_path, text)
    assert code == 0
    lines = out.splitlines()
    (first,) = [number for number, line in enumerate(lines) if line.startswith("vllm ")]
    assert lines[first].split() == [
        "vllm",
        "POST",
        "gpu.example.com",
        "/v1/chat/completions",
        "/v1/chat/completions/batch",
        "ci",
    ]
    assert lines[first + 1].split() == ["/v1/completions", "/v1/responses", "/v1/messages"]
    assert any(line.split()[:3] == ["vllm-health", "GET,HEAD", "gpu.example.com"] for line in lines)
    assert max(map(len, lines)) < 140
