"""Who sends requests: plans, and clients in processes of their own."""
