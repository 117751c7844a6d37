"""So that `python -m realbogus.cli` is the command `realbogus`."""

import sys

from realbogus.cli import main

if __name__ == "__main__":
    sys.exit(main())
