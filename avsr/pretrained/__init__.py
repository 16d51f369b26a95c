"""Pretrained networks and other projects' checkpoints, read into ours."""
