"""The studio for programs: named endpoints and tools, through the same queue as the page."""
