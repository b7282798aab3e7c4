"""What we ask of the operating system and the machine; may import errors alone."""
