"""Great Expectations itself: a whole suite over a log or a file, and its Data Docs."""
