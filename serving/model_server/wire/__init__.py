"""Forms of data: tensors of a message, text protobufs, TFRecord files."""
