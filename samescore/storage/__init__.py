"""Forms of storage that need pandas, TensorFlow or protobuf; the others: `consistency.storage`."""
