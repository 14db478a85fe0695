"""`authenticators:` as a whole: what must be installed for a kind."""

import pytest

from forwardauth.authn import basic
from tests.building import SHA_OF_PASSWORD, mistakes

CONFIGURATION = f"""
authenticators:
  staff: {{basic: {{users: ["bob:{SHA_OF_PASSWORD}"]}}}}
routes: [{{path: /*, require: staff}}]
"""


def test_an_extra_that_is_not_installed_is_a_mistake_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be a fault of every request otherwise."""
    monkeypatch.setattr(basic, "EXTRA", ("passwords", ("a_library_that_nobody_has",)))
    found = mistakes(CONFIGURATION)
    assert list(found) == ["authenticators.staff.basic"]
    assert "pip install 'forwardauth[passwords]'" in str(found)


def test_the_libraries_that_passwords_need_are_the_ones_that_are_looked_for() -> None:
    assert basic.EXTRA[1] == ("bcrypt", "passlib")
    assert not mistakes(CONFIGURATION)
