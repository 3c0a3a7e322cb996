"""Noisy RAW files made of clean ones, with noise whose truth is known."""
