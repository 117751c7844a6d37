"""So that `python -m realbogus` is the command `realbogus`."""

import sys

from realbogus.cli import main

if __name__ == "__main__":
    sys.exit(main())
