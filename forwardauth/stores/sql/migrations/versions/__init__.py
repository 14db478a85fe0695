"""One file for each step, numbered. A step that was published never changes; there is no way back."""
