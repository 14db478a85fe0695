from forwardauth.core.reasons import DENIALS, NO_ROUTE
from forwardauth.replies import deny


def test_people_with_curl_read_one_sentence() -> None:
    reply = deny(DENIALS[NO_ROUTE], "plain")
    assert (reply.body.decode(), reply.content_type) == (NO_ROUTE.message, "text/plain; charset=utf-8")
