"""The serving wrapper: one data plane under thin faces, model versions that come and go."""
