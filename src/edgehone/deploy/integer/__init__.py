"""What 8 bits do to a detector: simulated for absent boards, executed on this machine."""
