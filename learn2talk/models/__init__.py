"""Networks: tensors in, tensors out; no file, no loss."""
