from tests.deploy.conformance.suite import Conformance


class TestEnvoy(Conformance):
    gateway = "envoy"
