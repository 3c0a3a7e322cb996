"""Measures of a super-resolved picture, with and without its original."""
