"""How every command says what is wrong: one line each on stderr, and exit code 2."""

import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

import click

from forwardauth.config.mistakes import ConfigurationError

EXIT_MISTAKES = 2

T = TypeVar("T")


def fail(failure: ConfigurationError) -> NoReturn:
    """Print every mistake of a configuration and end."""
    end(*map(str, failure.mistakes))


def end(*texts: str) -> NoReturn:
    """Print each text as a line of its own and end."""
    for text in texts:
        click.echo(f"forwardauth: {' '.join(text.splitlines())}", err=True)
    sys.exit(EXIT_MISTAKES)


def read_option(option: str, reading: Callable[[], T]) -> T:
    """What an option says; a ValueError of `reading` ends the command, with the option's name."""
    try:
        return reading()
    except ValueError as mistake:
        end(f"{option}: {mistake}")
