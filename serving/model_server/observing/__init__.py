"""Counts calls and shows them as upstream does; records what TensorFlow does."""
