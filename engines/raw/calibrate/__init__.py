"""Measuring a camera from dark and flat frames (ELD, section on noise parameter estimation)."""
