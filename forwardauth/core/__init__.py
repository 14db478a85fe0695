"""The decision, pure: no await, clock, logging, environment, file or third-party import.

Everything here is a function of its arguments and of tables that `service.py` alone changes.
Read `decide.py` first.
"""
