"""Where records, facts and password hashes live. One file per kind of store; knows no request."""
