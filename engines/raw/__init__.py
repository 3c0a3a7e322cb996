"""The RAW tab's engines and the noise models that they share."""
