"""What is asked of every page: `at` looks at one, `tell` makes the checks, `prove` shows that the look sees what it is for."""
