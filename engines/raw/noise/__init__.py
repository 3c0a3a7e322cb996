"""What a sensor's noise is, read from the picture itself."""
