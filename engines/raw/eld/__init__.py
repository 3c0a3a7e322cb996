"""ELD: a denoiser for extreme low light that knows how many times too dark a picture is."""
