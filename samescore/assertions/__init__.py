"""`assert_same_scores`, for tests that are written by hand."""
