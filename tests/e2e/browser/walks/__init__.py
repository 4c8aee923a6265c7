"""One walk a file: what one person does, or what one rule asks of every page."""
