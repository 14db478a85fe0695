"""The `forwardauth` command: one file or folder per command group. Knows what an operator types, and no decision."""

from importlib import import_module

import click

from forwardauth import __version__

COMMANDS = ("check", "doctor", "explain", "keys", "lockouts", "serve")
"""Every command, by the name of its module here and of the command in it."""


class _OnDemand(click.Group):
    """Imports a command when somebody asks for it: `serve` should not wait for what `doctor` needs (60 ms of 250)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command, or None where there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"forwardauth.cli.{cmd_name}"), cmd_name)
        return command


@click.group(cls=_OnDemand, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="forwardauth")
def main() -> None:
    """Answer, for every request a gateway sees, whether it may pass."""
