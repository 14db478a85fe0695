"""A small page for people in front of a browser."""

from html import escape
from http import HTTPStatus

from forwardauth.core.reasons import Denial

_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{status} {phrase}</title><style>'
    "body{{margin:0;min-height:100vh;display:grid;place-items:center;font:1.1rem/1.6 system-ui,sans-serif;"
    "background:#f6f7f9;color:#1c2430}}main{{max-width:34rem;padding:2rem}}h1{{font-size:1.4rem;margin:0 0 .5rem}}"
    "p{{margin:0;color:#4a5568}}@media(prefers-color-scheme:dark){{body{{background:#14181f;color:#e6e9ee}}"
    "p{{color:#a3adba}}}}</style></head><body><main><h1>{phrase}</h1><p>{message}</p></main></body></html>"
)


def render(denial: Denial) -> bytes:
    """The body of a denial."""
    phrase = HTTPStatus(denial.reason.status).phrase
    return _PAGE.format(status=denial.reason.status, phrase=phrase, message=escape(denial.message)).encode("ascii")
