"""Proves that this bundle arrived whole and says here what it said where it was made."""
# pyright: basic

import os
import sys

from runtime.testing import main

if __name__ == "__main__":
    sys.exit(main(os.path.dirname(os.path.abspath(__file__))))
