"""The suite's own settings: properties are tried often and without a deadline, and leave no file behind."""

from hypothesis import settings

# A hook for the end of a run counts only here, where whoever gathers the reports of all workers finds it.
from tests.deploy.conformance.summary import pytest_terminal_summary as pytest_terminal_summary

settings.register_profile("suite", deadline=None, max_examples=100, database=None)
settings.load_profile("suite")
