"""`python -m vqcheck` is the same as `vqcheck`."""

import sys

from vqcheck.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
