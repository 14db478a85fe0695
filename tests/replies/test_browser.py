from dataclasses import replace

from forwardauth.core.reasons import DENIALS, NO_ROUTE
from forwardauth.replies import deny


def test_a_page_shows_its_message_and_never_runs_it() -> None:
    """Attack: a name of the configuration, or of a request, that is markup once it stands in a page."""
    reply = deny(replace(DENIALS[NO_ROUTE], message="<script>alert(1)</script> & more"), "browser")
    assert b"<script" not in reply.body
    assert b"&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in reply.body
    assert b"403 Forbidden" in reply.body
    assert reply.content_type == "text/html; charset=utf-8"
