"""`components.train --section finetune`, by the name under which older commits know it: `reproduce` calls either by this one."""

import sys

from components import cli, train


def main() -> None:
    """The command line."""
    sys.argv[1:1] = ["--section", "finetune"]
    train.main()


if __name__ == "__main__":
    cli.run(main)
