"""What operators read: audit lines, metrics, logs. Redaction lives here, once."""
