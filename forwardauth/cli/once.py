"""Printing what is shown only once."""

import os
import sys

import click

from forwardauth.cli.mistakes import end


def show_once(text: str, otherwise: str) -> None:
    """Print a new secret. If stdout takes nothing (a full disk), the command ends with what to do `otherwise`."""
    try:
        click.echo(text)
    except OSError as failure:
        # What stdout still holds would fail again, and loudly, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        end(f"the new key could not be printed ({failure.strerror}); {otherwise}")
