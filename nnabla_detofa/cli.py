"""The command, which hears a signal while it is still being imported: that takes a second (not in the paper)."""

import sys

from .signals import held_back


def main(arguments: list[str] | None = None) -> int:
    """`launch.cli.main`; signals that come before it listens are delivered to it."""
    with held_back():
        from .launch.cli import main as command

        return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
