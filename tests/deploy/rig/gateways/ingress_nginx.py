"""nginx with what ingress-nginx makes of the shipped annotations.

Written from rootfs/etc/nginx/template/nginx.tmpl of kubernetes/ingress-nginx (v1.15), with its defaults: the lines that
decide what is asked, what the client gets and what the backend reads, without its Lua.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..kubernetes import found, objects
from .gateway import Gateway

PREFIX = "nginx.ingress.kubernetes.io/"
ASKED = "http://forwardauth.forwardauth.svc.cluster.local:9000"


class IngressNginx(Gateway):
    name = "ingress-nginx"
    needs = "nginx"
    service_down = (500,)

    def command(self) -> list[str | Path]:
        config = self.folder / "nginx.conf"
        config.write_text(self._configuration())
        return [self.executable, "-p", self.folder, "-e", self.folder / "error.log", "-c", config]

    def _configuration(self) -> str:
        ingress = found(objects("ingress-nginx.yml"), "Ingress")
        said = {name.removeprefix(PREFIX): value for name, value in ingress["metadata"]["annotations"].items()}
        url = said.pop("auth-url")
        assert url.startswith(ASKED)
        host = url.partition("://")[2].partition("/")[0]
        back = "\n".join(
            f"auth_request_set $authHeader{number} $upstream_http_{name.lower().replace('-', '_')};\n"
            f"proxy_set_header '{name}' $authHeader{number};"
            for number, name in enumerate(said.pop("auth-response-headers").split(","))
        )
        buffering, read_timeout, body = (
            said.pop(name) for name in ("proxy-buffering", "proxy-read-timeout", "proxy-body-size")
        )
        assert said == {}, "an annotation that this page knows nothing of"
        scratch = "".join(
            f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.getuid() == 0 else ""
        return f"""
daemon off; {user} pid {self.folder}/nginx.pid; worker_processes 1;
events {{ }}
http {{
    access_log off;
    {scratch}
    underscores_in_headers off;
    ignore_invalid_headers on;
    large_client_header_buffers 4 8k;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream upstream_balancer {{ server 127.0.0.1:{self.backend_port}; keepalive 320; }}
    server {{ listen 127.0.0.1:{self.port} default_server; server_name _; return 404; }}
    server {{
        listen 127.0.0.1:{self.port};
        server_name {" ".join(self.hosts)};

        location = /_external-auth-Lw-Prefix {{
            internal;
            access_log off;
            proxy_intercept_errors off;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header X-Forwarded-Proto "";
            proxy_set_header X-Request-ID $request_id;
            proxy_set_header Host {host};
            proxy_set_header X-Original-URL $scheme://$http_host$request_uri;
            proxy_set_header X-Original-Method $request_method;
            proxy_set_header X-Sent-From "nginx-ingress-controller";
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Auth-Request-Redirect $request_uri;
            proxy_buffering {buffering};
            proxy_buffer_size 4k;
            proxy_buffers 4 4k;
            proxy_request_buffering on;
            proxy_ssl_server_name on;
            proxy_pass_request_headers on;
            client_max_body_size {body};
            proxy_http_version 1.1;
            set $target "{url.replace(ASKED, f"http://127.0.0.1:{self.service_port}")}";
            proxy_pass $target;
        }}

        location / {{
            auth_request /_external-auth-Lw-Prefix;
            auth_request_set $auth_cookie $upstream_http_set_cookie;
            add_header Set-Cookie $auth_cookie;
            {back}
            client_max_body_size {body};
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Request-ID $request_id;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Scheme $scheme;
            proxy_set_header X-Scheme $scheme;
            proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;
            proxy_set_header X-Original-Forwarded-Host $http_x_forwarded_host;
            proxy_set_header Proxy "";
            proxy_connect_timeout 5s;
            proxy_send_timeout 60s;
            proxy_read_timeout {read_timeout}s;
            proxy_buffering {buffering};
            proxy_request_buffering on;
            proxy_http_version 1.1;
            proxy_next_upstream error timeout;
            proxy_next_upstream_tries 3;
            proxy_pass http://upstream_balancer;
        }}
    }}
}}
"""

    @property
    def log(self) -> str:
        errors = self.folder / "error.log"
        return super().log + (errors.read_text() if errors.exists() else "")
