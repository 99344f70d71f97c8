"""The cases, by what they trouble."""
