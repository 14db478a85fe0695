"""Envoy with what Envoy Gateway makes of the shipped SecurityPolicy and HTTPRoute.

Written from internal/xds/translator (extauth.go, listener.go, and testdata/out/xds-ir/ext-auth.*.yaml) of
envoyproxy/gateway v1.9, with its defaults and without a ClientTrafficPolicy: one listener, one route, one filter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..kubernetes import found, objects
from .gateway import Gateway

TYPES = "type.googleapis.com/envoy.extensions"


class EnvoyGateway(Gateway):
    name = "envoy-gateway"
    needs = "envoy"
    service_down = (403,)

    def command(self) -> list[str | Path]:
        config = self.folder / "envoy.json"
        config.write_text(json.dumps(self._configuration()))
        return [self.executable, "--disable-hot-restart", "--concurrency", "1", "-c", config]

    def _configuration(self) -> dict[str, Any]:
        shipped = objects("envoy-gateway.yml")
        return {
            "static_resources": {
                "listeners": [self._listener(shipped)],
                "clusters": [cluster("forwardauth", self.service_port), cluster("llm", self.backend_port)],
            }
        }

    def _listener(self, shipped: list[dict[str, Any]]) -> dict[str, Any]:
        manager = {
            "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "http",
            "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"},
            "use_remote_address": True,
            "normalize_path": True,
            "merge_slashes": True,
            "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
            "server_header_transformation": "PASS_THROUGH",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "http_filters": [
                {"name": "envoy.filters.http.ext_authz", "typed_config": authorization(shipped)},
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": f"{TYPES}.filters.http.router.v3.Router",
                        "suppress_envoy_headers": True,
                    },
                },
            ],
            "route_config": {
                "ignore_port_in_host_matching": True,
                "virtual_hosts": [{"name": "llm", "domains": list(self.hosts), "routes": [route(shipped)]}],
            },
        }
        network = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        return {"name": "http", "address": address(self.port), "filter_chains": [{"filters": [network]}]}


def authorization(shipped: list[dict[str, Any]]) -> dict[str, Any]:
    """The filter of a SecurityPolicy's `extAuth`."""
    policy = dict(found(shipped, "SecurityPolicy")["spec"]["extAuth"])
    http = dict(policy.pop("http"))
    (backend,) = http.pop("backendRefs")
    assert backend == {"name": "forwardauth", "namespace": "forwardauth", "port": 9000}
    made = {
        "@type": f"{TYPES}.filters.http.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "failure_mode_allow": policy.pop("failOpen"),
        "allowed_headers": {"patterns": exactly(policy.pop("headersToExtAuth"))},
        "http_service": {
            "path_prefix": http.pop("path"),
            "server_uri": {"uri": "http://forwardauth.forwardauth:9000", "cluster": "forwardauth", "timeout": "10s"},
            "authorization_response": {
                "allowed_upstream_headers": {"patterns": exactly(http.pop("headersToBackend"))},
            },
        },
    }
    assert (policy, http) == ({}, {}), "a field that this page knows nothing of"
    return made


def route(shipped: list[dict[str, Any]]) -> dict[str, Any]:
    """The route of an HTTPRoute's one rule; its header filter works in Envoy's router, after every other filter."""
    (rule,) = found(shipped, "HTTPRoute")["spec"]["rules"]
    (match,), (headers,) = rule["matches"], rule["filters"]
    assert headers["type"] == "RequestHeaderModifier"
    return {
        "match": {"prefix": match["path"]["value"]},
        "route": {"cluster": "llm", "timeout": rule["timeouts"]["request"]},
        "request_headers_to_remove": headers["requestHeaderModifier"]["remove"],
    }


def exactly(names: list[str]) -> list[dict[str, Any]]:
    """Envoy Gateway's matcher for a header's name."""
    return [{"exact": name, "ignore_case": True} for name in names]


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name: str, port: int) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "10s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }
