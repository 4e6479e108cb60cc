"""What models compute in: threads, devices, and the libraries' own start."""
