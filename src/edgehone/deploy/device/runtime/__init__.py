"""Runs a detector on a board: frames in, boxes out. Python 3.6 or later, numpy, OpenCV and the vendor's library."""
