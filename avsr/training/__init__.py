"""One training loop for every network of the toolkit, on Accelerate."""
