"""What the studio does: one package a tab, each engine a class behind one protocol.

Engines know neither gradio nor the database (see `tests/test_architecture.py`).
"""
