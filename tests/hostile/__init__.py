"""Files and values that mean harm, or are broken, and what the studio makes of them."""
