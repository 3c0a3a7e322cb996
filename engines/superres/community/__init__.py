"""Upscalers that people have on disk: files that spandrel knows, and pairs of ncnn.

Both libraries are optional; without them a sentence says how to install them.
"""
