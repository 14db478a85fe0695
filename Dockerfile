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
      org.opencontainers.image.description="Forward-auth service for Traefik and nginx" \
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
# Python is the only program here that can ask. `-I -S` leaves out what a question of one line does not need.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-I", "-S", "-c", "import http.client, os; port = os.environ['FORWARDAUTH_LISTEN'].rpartition(':')[2]; c = http.client.HTTPConnection('127.0.0.1', int(port), timeout=4); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["forwardauth"]
CMD ["serve"]
