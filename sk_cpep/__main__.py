"""``python -m sk_cpep``."""

import sys

from ._cli import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m sk_cpep"))
