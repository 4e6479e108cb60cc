"""What is served: SavedModels, TensorFlow Lite, bundles; and what a version goes through first."""
