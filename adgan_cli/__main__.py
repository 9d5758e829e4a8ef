"""python -m adgan_cli, and the console script adgan."""

import os

# OpenMP's threads wait for each other by spinning. When another program wants a core too, each
# wait then costs a time slice, and training becomes ten times slower than it has to be; sleeping
# costs a tenth at most. OpenMP reads this as torch is loaded, so it is set before anything else.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from adgan_cli.cli import app  # noqa: E402
from adgan_cli.cli.console import interrupt_on_signals  # noqa: E402


def main() -> None:
    """Run the command line."""
    interrupt_on_signals()
    # on Windows the parser would expand every pattern, those of --exclude too; PATHS' are ours
    app(windows_expand_args=False)


if __name__ == "__main__":
    main()
