"""What is to be served, under which labels, who may change it, and where the server listens."""
