"""How every command says what is wrong: one line each on stderr, and exit code 2."""

import sys
from typing import NoReturn

import click

from forwardauth.config.mistakes import ConfigurationError

EXIT_MISTAKES = 2


def fail(failure: ConfigurationError) -> NoReturn:
    """Print every mistake of a configuration and end."""
    end(*map(str, failure.mistakes))


def end(*texts: str) -> NoReturn:
    """Print each text as a line of its own and end."""
    for text in texts:
        click.echo(f"forwardauth: {' '.join(text.splitlines())}", err=True)
    sys.exit(EXIT_MISTAKES)
