"""What a person gives to the classical analyses, checked: every problem at once, with remedies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_SHOWN = 5
COLLINEAR = 1e-10
"""A column that keeps less than this of its length beside the others follows from them."""


def column(values: ArrayLike, name: str, problems: list[str], positive: bool = False) -> Floats:
    """One number a study as an array (k); what is wrong is added to `problems`."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        problems.append(f"{name} must hold numbers; remedy: convert text to numbers first")
        return np.zeros(0)
    if array.ndim != 1:
        problems.append(f"{name} must be one number a study, not an array of shape {array.shape}")
        return array.ravel()
    wrong = ~np.isfinite(array)
    _report(
        array, wrong, name, "is not a finite number", "give it or leave the study out", problems
    )
    if positive:
        low = ~wrong & (array <= 0)
        remedy = "a sampling variance is above 0; check it or leave the study out"
        _report(array, low, name, "is not above 0", remedy, problems)
    return array


def _report(
    array: Floats, wrong: NDArray[np.bool_], name: str, what: str, remedy: str, problems: list[str]
) -> None:
    places = np.flatnonzero(wrong)
    for i in places[:_SHOWN]:
        problems.append(f"{name}[{i}] = {array[i]:g} {what}; remedy: {remedy}")
    if len(places) > _SHOWN:
        problems.append(f"{name}: {len(places) - _SHOWN} more such values")


def refuse(problems: Sequence[str]) -> None:
    """Raise one ValueError that names every problem, or return."""
    if problems:
        raise ValueError("\n".join(problems))


def check_level(level: float, problems: list[str]) -> None:
    """Add a problem unless `level` is a probability between 0 and 1."""
    if not 0 < level < 1:
        problems.append(f"level = {level!r} is not between 0 and 1; remedy: e.g. level=0.95")


def moderators(
    X: ArrayLike | pd.DataFrame | None, k: int, intercept: bool, problems: list[str]
) -> tuple[Floats, tuple[str, ...]]:
    """Design matrix (k, p) and its names, `intrcpt` first; what is wrong goes to `problems`."""
    ones = np.ones((k, 1))
    if X is None:
        if not intercept:
            problems.append("no coefficient: X is None and intercept=False; remedy: give X")
        return ones, ("intrcpt",)
    try:
        matrix = np.asarray(X, dtype=float)
    except (TypeError, ValueError):
        text = "X must hold numbers; remedy: code categories as 0 and 1 (pandas.get_dummies)"
        problems.append(text)
        return ones, ("intrcpt",)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if isinstance(X, pd.DataFrame):
        names = [str(c) for c in X.columns]
    elif isinstance(X, pd.Series) and X.name is not None:
        names = [str(X.name)]
    else:
        names = [f"x{i + 1}" for i in range(matrix.shape[-1])]
    if matrix.ndim != 2 or len(matrix) != k:
        problems.append(f"X has shape {matrix.shape}; allowed: ({k}, m), one row a study")
        return ones, ("intrcpt",)
    bad = False
    for j, name in enumerate(names):
        wrong = ~np.isfinite(matrix[:, j])
        bad |= bool(wrong.any())
        remedy = "give it or leave the study out"
        _report(matrix[:, j], wrong, f"X[{name!r}]", "is not a finite number", remedy, problems)
    if bad:
        return ones, ("intrcpt",)
    constant = (matrix == 1).all(axis=0) if k else np.zeros(len(names), dtype=bool)
    if constant.any():
        first = int(np.flatnonzero(constant)[0])
        matrix, names = (
            np.delete(matrix, first, axis=1),
            [n for i, n in enumerate(names) if i != first],
        )
    if intercept or constant.any():
        matrix, names = np.hstack([ones, matrix]), ["intrcpt", *names]
    _check_rank(matrix, names, problems)
    return matrix, tuple(names)


def _check_rank(matrix: Floats, names: Sequence[str], problems: list[str]) -> None:
    k, p = matrix.shape
    if p > k:
        text = f"{p} coefficients and only {k} effects; remedy: use at most {k}"
        problems.append(text)
        return
    size = np.sqrt((matrix**2).sum(axis=0))
    kept = np.zeros((k, 0))
    for j in range(p):
        rest = matrix[:, j] / size[j] if size[j] > 0 else matrix[:, j]
        for _ in range(2):  # twice is enough (Kahan)
            rest = rest - kept @ (kept.T @ rest)
        left = float(np.sqrt((rest**2).sum()))
        if left <= COLLINEAR:
            before = " and ".join(map(repr, names[:j])) or "nothing"
            text = f"the moderator {names[j]!r} follows from {before} (collinear); remedy: drop it"
            problems.append(text)
        else:
            kept = np.hstack([kept, rest[:, None] / left])
