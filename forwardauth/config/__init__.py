"""YAML to frozen settings to a snapshot, with all mistakes at once.

The only room that knows the configuration's file format. `load` is its door.
"""
