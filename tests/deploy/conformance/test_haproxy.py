from tests.deploy.conformance.suite import Conformance


class TestHaproxy(Conformance):
    gateway = "haproxy"
