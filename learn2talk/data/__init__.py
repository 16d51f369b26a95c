"""Prepared corpora as training examples of speech and face motion."""
