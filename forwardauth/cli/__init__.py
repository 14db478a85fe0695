"""The `forwardauth` command: one file per command group. Knows what an operator types, and nothing of a decision."""

import click

from forwardauth import __version__
from forwardauth.cli.check import check
from forwardauth.cli.doctor import doctor
from forwardauth.cli.explain import explain
from forwardauth.cli.keys import keys
from forwardauth.cli.lockouts import lockouts
from forwardauth.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="forwardauth")
def main() -> None:
    """Answer, for every request a gateway sees, whether it may pass."""


main.add_command(serve)
main.add_command(check)
main.add_command(explain)
main.add_command(doctor)
main.add_command(keys)
main.add_command(lockouts)
