from tests.deploy.conformance.suite import Conformance


class TestTraefikFile(Conformance):
    gateway = "traefik-file"
