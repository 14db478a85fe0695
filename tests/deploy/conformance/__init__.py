"""One table of requests, and what every gateway makes of them with the shipped files: the same, or a stated exception.

cases.py       THE TABLE TO READ FIRST: credential, route and condition; status, body and headers that follow
situations.py  the configurations that the table is about
case.py        the words in which the table is written
sending.py     how a case is sent, byte by byte, and what comes back
way.py         one gateway, running in every situation
suite.py       the tests of one way; each way has a file of its own, so that they run in parallel
page.py        docs/conformance.md, made from the table
matrix.py      the same without pytest: sends the table through every way, and writes the page
summary.py     the last line of a run
"""
