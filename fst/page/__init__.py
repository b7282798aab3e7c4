"""The page: styles in a browser, by its own runtime or by this machine's."""
