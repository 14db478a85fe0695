"""How every command says that a configuration is wrong: one line each on stderr, and exit code 2."""

import sys
from typing import NoReturn

import click

from forwardauth.config.mistakes import ConfigurationError

EXIT_MISTAKES = 2


def fail(failure: ConfigurationError) -> NoReturn:
    """Print every mistake and end."""
    for mistake in failure.mistakes:
        click.echo(f"forwardauth: {' '.join(str(mistake).splitlines())}", err=True)
    sys.exit(EXIT_MISTAKES)
