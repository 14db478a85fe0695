"""What may be written. Knows shapes of secrets and of log lines, nothing of a decision.

Every text of a request that an audit line holds is bounded here. Log lines and the paths of audit lines are masked:
what looks like a secret is not shown, whoever put it there.
"""

import logging
import re

_SECRETS = re.compile(
    r"(?i)((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{6,}"
    r"|\b((?:sk|pk|ak|fa|cnp|ix|xai|ghp|gho)[-_])[A-Za-z0-9._-]{12,}"
    r"|((?:api_?key|access_token|refresh_token|password|secret|authorization)\"?\s*[=:]\s*\"?(?:bearer\s+|basic\s+)?)[^\s\",;&]{4,}"
)


def masked(text: str) -> str:
    """A text without what looks like a secret."""
    return _SECRETS.sub(lambda match: f"{next(filter(None, match.groups()))}***", text)


def shown(raw: bytes, length: int) -> str:
    """Bytes of a request as text for an audit line, at most `length` bytes of UTF-8."""
    text = raw[:length].decode("utf-8", "replace")
    # A byte that is no UTF-8 becomes a replacement character of three.
    return text if text.isascii() else text.encode()[:length].decode("utf-8", "ignore")


class RedactingFormatter(logging.Formatter):
    """A log formatter whose lines show no secret, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, masked."""
        return masked(super().format(record))


def configure_logging(level: int = logging.INFO) -> None:
    """Send this program's log to stderr, redacted."""
    stream = logging.StreamHandler()
    stream.setFormatter(RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[stream], force=True)
    # It tells every plugin that it sets up; what it does is told by an error, or not at all.
    logging.getLogger("alembic").setLevel(logging.WARNING)
