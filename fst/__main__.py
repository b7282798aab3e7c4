"""``python -m fst``."""

import sys

from fst.cli import main

if __name__ == "__main__":
    sys.exit(main())
