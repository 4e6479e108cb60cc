"""What scores feature batches for the data plane: in this process, or somewhere else."""
