"""`python -m gtn_jax` is `gtn`."""

import sys

from gtn_jax.runtime.allocator import start_again_with_huge_pages


def main() -> int:
    """Run the process's verb; returns the exit code."""
    start_again_with_huge_pages()
    from gtn_jax.cli.main import (
        main,  # takes a tenth of a second, which a new start would take again
    )

    return main()


if __name__ == "__main__":
    sys.exit(main())
