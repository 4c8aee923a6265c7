"""What every end-to-end scenario stands on: the real binary, receivers over TLS, checks that are counted."""
