"""forwardauth: answers, for every request a gateway sees, whether it may pass."""

__version__ = "0.1.0"
