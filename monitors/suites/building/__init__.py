"""Learns a suite from training data: what holds for its columns, and by how much batches vary."""
