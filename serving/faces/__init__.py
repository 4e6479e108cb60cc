"""One module a protocol; each translates into the data plane and out of it, and nothing more."""
