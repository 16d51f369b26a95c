"""Logits to token sequences."""
