"""python -m adgan_cli, and the console script adgan."""

from adgan_cli.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
