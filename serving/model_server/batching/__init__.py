"""Requests that run together: upstream's batching, its parameters and its words."""
