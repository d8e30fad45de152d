"""`python -m gtn_jax` is `gtn`."""

import sys

from gtn_jax.cli import main

if __name__ == "__main__":
    sys.exit(main())
