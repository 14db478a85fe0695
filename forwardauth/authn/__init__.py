"""Authenticators, pure: one file per kind, judging what a request presents.

A kind is a module with `Settings` (the words of its configuration) and `build(name, settings, materials)`, and one line
in KINDS. One that needs an extra to be installed says which in `EXTRA`.
"""

from types import ModuleType

from forwardauth.authn import basic, network, token

KINDS: dict[str, ModuleType] = {
    "basic": basic,
    "network": network,
    "token": token,
}
"""The word under an authenticator's name in the configuration, and the file that means it."""
