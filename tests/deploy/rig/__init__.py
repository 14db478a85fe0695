"""The files of `deploy/` on the real programs: a gateway, the service and a backend, on loopback addresses.

    client (127.0.x.y) -> gateway (shipped files) -> forwardauth (a real process)
                                                  -> backend (this process, remembers what reached it)

A new gateway is one file in `gateways/` and one line in its registry.
"""
