"""One file, one scenario: `run(checks, folder)`."""
