"""A run explained in one self-contained page."""
