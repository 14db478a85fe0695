from tests.deploy.conformance.suite import Conformance


class TestTraefikLabels(Conformance):
    gateway = "traefik-labels"
