"""The suite's own settings: properties are tried often and without a deadline, and leave no file behind."""

from hypothesis import settings

settings.register_profile("suite", deadline=None, max_examples=100, database=None)
settings.load_profile("suite")
