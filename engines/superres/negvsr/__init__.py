"""NegVSR: video super-resolution that learned from augmented negatives (AAAI 2024)."""
