"""Finds objects in pictures, videos and cameras: ``python3 detect.py SOURCE``; see --help."""
# pyright: basic

import os
import sys

from runtime.detecting import main

if __name__ == "__main__":
    sys.exit(main(os.path.dirname(os.path.abspath(__file__))))
