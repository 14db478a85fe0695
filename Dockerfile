# forwardauth in a container: nothing but Python, the service and what it imports.
#
#   docker build -t forwardauth .
#   docker run --read-only -p 127.0.0.1:9000:9000 -e FORWARDAUTH_TOKEN=… forwardauth

FROM python:3.13-slim-trixie AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY forwardauth forwardauth
# In an environment of its own, so that one folder is all that goes into the image; compiled, because a read-only
# root could not keep what the first import compiles.
RUN python -m venv /opt/forwardauth \
    && /opt/forwardauth/bin/pip install --no-cache-dir --compile ".[all]" \
    && /opt/forwardauth/bin/pip uninstall --yes pip

FROM python:3.13-slim-trixie
LABEL org.opencontainers.image.title="forwardauth" \
      org.opencontainers.image.description="Forward-auth service for Traefik, nginx, Caddy, Envoy and HAProxy" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/forwardauth /opt/forwardauth
# The address beats the configuration's `server.listen`: inside a container 127.0.0.1 would be out of the gateway's
# reach. Audit lines leave at once, not when a buffer is full.
ENV PATH=/opt/forwardauth/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    FORWARDAUTH_LISTEN=0.0.0.0:9000
WORKDIR /etc/forwardauth
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 9000
# Python is the only program here that can ask. `-I -S` leaves out what so short a question does not need. It asks where
# the service listens: HOST:PORT, [IPV6]:PORT, :PORT or unix:PATH. To connect to 0.0.0.0 or :: is to ask this machine.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "import http.client, os, socket; \
        listen = os.environ['FORWARDAUTH_LISTEN']; host, _, port = listen.rpartition(':'); \
        unix = listen[5:] if listen.startswith('unix:') else None; \
        tcp = (host.strip('[]') or '0.0.0.0', port); \
        ask = http.client.HTTPConnection('localhost'); \
        ask.sock = socket.socket(socket.AF_UNIX) if unix else socket.create_connection(tcp, 4); \
        ask.sock.settimeout(4); unix and ask.sock.connect(unix); \
        ask.request('GET', '/health'); raise SystemExit(ask.getresponse().status != 200)"]
ENTRYPOINT ["forwardauth"]
CMD ["serve"]
