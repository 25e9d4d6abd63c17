"""Measures how long the detector takes on this board, and writes measured.json."""
# pyright: basic

import os
import sys

from runtime.measuring import main

if __name__ == "__main__":
    sys.exit(main(os.path.dirname(os.path.abspath(__file__))))
