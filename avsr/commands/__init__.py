"""What the avsr command can do, by subject."""
