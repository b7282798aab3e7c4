"""Pictures: read, written, painted and looked at; may import system and errors."""
