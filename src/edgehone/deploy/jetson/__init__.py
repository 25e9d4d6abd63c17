"""What a Jetson Xavier NX gets: suppression in the graph, ranges for 8 bits, and the files that build an engine."""
