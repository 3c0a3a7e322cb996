"""How codes are chosen: one module a method, after the paper that its docstring names."""
