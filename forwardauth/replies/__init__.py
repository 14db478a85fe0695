"""Body formats, pure: one file per format, one line here, and the headers that every denial carries.

A format turns (status, code, message, header) into a content type and a body of ASCII on one line, because nginx
carries it in a header.
"""

from collections.abc import Callable
from math import ceil

from forwardauth.core.rate import Limit
from forwardauth.core.reasons import Denial
from forwardauth.core.reply import Reply
from forwardauth.replies import anthropic, browser, detail, openai, plain

Render = Callable[[Denial], bytes]

FORMATS: dict[str, tuple[str, Render]] = {
    "anthropic": ("application/json", anthropic.render),
    "browser": ("text/html; charset=utf-8", browser.render),
    "detail": ("application/json", detail.render),
    "openai": ("application/json", openai.render),
    "plain": ("text/plain; charset=utf-8", plain.render),
}
"""Words of `errors:`, with the content type and the renderer of each."""

# No proxy may keep a verdict (RFC 9111 5.2.2.5), and a browser must not read JSON as a page.
_COMMON = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


def deny(
    denial: Denial, format_name: str, retry_after: float = 0.0, limit: Limit | None = None, scope: str = ""
) -> Reply:
    """The reply of a denial. `retry_after` is in seconds (0: none); `limit` the tightest rate limit, for `scope`."""
    content_type, render = FORMATS[format_name]
    headers = list(_COMMON)
    if denial.challenge:
        headers.append(("WWW-Authenticate", denial.challenge))
    if retry_after > 0:
        seconds = max(ceil(retry_after), 1)
        # Both big SDKs look at the milliseconds first; a whole second is RFC 9110 10.2.3.
        headers += [("Retry-After", str(seconds)), ("retry-after-ms", str(max(ceil(retry_after * 1000), 1)))]
        if limit is not None:
            # draft-ietf-httpapi-ratelimit-headers-10: structured fields, one item for each policy.
            headers += [
                ("RateLimit-Policy", f'"{scope}";q={limit.count};w={round(limit.period)}'),
                ("RateLimit", f'"{scope}";r=0;t={seconds}'),
            ]
    elif denial.reason.status == 503:
        headers.append(("Retry-After", "1"))
    if denial.reason.retry is not None:
        headers.append(("x-should-retry", "true" if denial.reason.retry else "false"))
    return Reply(denial.reason.status, tuple(headers), render(denial), content_type)
