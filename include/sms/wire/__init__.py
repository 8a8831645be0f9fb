"""What crosses the wire: the names of files, and their bytes, both ways."""
