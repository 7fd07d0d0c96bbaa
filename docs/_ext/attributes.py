# ruff: noqa: INP001  Sphinx finds it by its path
"""What a class says of its attributes, in the strings that follow them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise


def attribute_docstrings(of: type) -> dict[str, str]:
    """Return attribute → the text below it, for all attributes of a class that have one."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(of)))
    (definition,) = tree.body
    if not isinstance(definition, ast.ClassDef):
        raise TypeError(f"{of!r} is no class")
    return {
        name: inspect.cleandoc(text)
        for statement, below in pairwise(definition.body)
        if (name := _assigned(statement)) and (text := _text(below))
    }


def _assigned(statement: ast.stmt) -> str:
    targets = (
        [statement.target]
        if isinstance(statement, ast.AnnAssign)
        else statement.targets
        if isinstance(statement, ast.Assign)
        else []
    )
    return next((target.id for target in targets if isinstance(target, ast.Name)), "")


def _text(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return str(statement.value.value)
    return ""
