"""The search box of the header, the palette of pages and actions, and completions."""
