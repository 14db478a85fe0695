from tests.deploy.conformance.suite import Conformance


class TestNginx(Conformance):
    gateway = "nginx"
