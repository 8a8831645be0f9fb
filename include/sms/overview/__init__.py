"""The operator's daily overview: status checks and upcoming files."""
