"""What a Kneron KL720 gets: a graph that its toolchain takes, and the script that makes a NEF of it."""
