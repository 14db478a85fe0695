"""Authenticators, pure: one file per kind, judging what a request presents.

A kind is a module with `Settings` (the words of its configuration) and `build(name, settings, materials)`, and one line
in KINDS. One that needs an extra to be installed says which in `EXTRA`.
"""

from types import ModuleType

from forwardauth.authn import basic, key_file, network, tenant_keys, token, virtual_key

KINDS: dict[str, ModuleType] = {
    "basic": basic,
    "key_file": key_file,
    "network": network,
    "tenant_keys": tenant_keys,
    "token": token,
    "virtual_key": virtual_key,
}
"""The word under an authenticator's name in the configuration, and the file that means it."""
