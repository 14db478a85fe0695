"""nginx with the shipped `nginx.conf` and its includes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..files import copied
from .gateway import Gateway


class Nginx(Gateway):
    name = needs = "nginx"

    def command(self) -> list[str | Path]:
        folder = self.folder
        copied("nginx/forwardauth-server.conf", folder, {})
        copied("nginx/forwardauth-location.conf", folder, {})
        copied(
            "nginx/forwardauth-upstream.conf",
            folder,
            {r"server forwardauth:9000;": f"server 127.0.0.1:{self.service_port};"},
        )
        (folder / "mime.types").write_text("types { text/html html; }\n")
        scratch = "".join(
            f"    {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        # Workers of a nginx that root starts would give up root, and with it these folders.
        user = "user root;\n" if os.getuid() == 0 else ""
        config = copied(
            "nginx/nginx.conf",
            folder,
            {
                r"worker_processes auto;": f"daemon off;\n{user}pid {folder}/nginx.pid;\nworker_processes 1;",
                r"http \{\n": f"http {{\n{scratch}",
                r"listen 80\b": f"listen 127.0.0.1:{self.port}",
                r"server llm:8000;": f"server 127.0.0.1:{self.backend_port};",
                r"/var/log/nginx/": f"{folder}/",
                re.escape("llm.example.com"): " ".join(self.hosts),
            },
        )
        return [self.executable, "-p", folder, "-e", folder / "error.log", "-c", config]

    @property
    def log(self) -> str:
        files = ("error.log", "access.log")
        return super().log + "".join(
            (self.folder / name).read_text() for name in files if (self.folder / name).exists()
        )
