from tests.deploy.conformance.suite import Conformance


class TestCaddy(Conformance):
    gateway = "caddy"
