"""One file per corpus of talking faces."""
