"""Networks of the recogniser: tensors in, tensors out."""
