"""Sockets: the decision lane, and how listeners begin and end. Knows no dialect, no format and no check."""
