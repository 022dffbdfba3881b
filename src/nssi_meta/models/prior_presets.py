"""Empirical priors of tau^2, found in meta-analyses of the Cochrane Database.

Turner et al. 2015 (Stat Med 34:984, Table IV): log-normal, for log odds ratios. Rhodes et al. 2015
(J Clin Epidemiol 68:52, Tables 3, A.3.1, A.3.2): log-Student-t with 5 df, for standardised mean
differences. The numbers are those that bayesmeta and rnmamod give for these tables; where the two
differ in a sign (cancer, resource use, pharma-placebo), bayesmeta's, which fits the other columns.
Turner et al. 2012 (Int J Epidemiol 41:818), coarser, for log odds ratios: the numbers of gemtc's
`mtc.hy.empirical.lor`.
"""

from __future__ import annotations

import difflib

from nssi_meta.models.prior_families import Params

_TURNER_OUTCOMES = (
    "all-cause-mortality", "obstetric", "cause-specific-mortality", "resource-use",
    "surgical-success", "withdrawals", "internal-structure", "physical-health",
    "adverse-events", "infection", "signs-symptoms", "pain", "quality-of-life", "mental-health",
    "biological-marker", "subjective",
)  # fmt: skip
_TURNER: dict[str, tuple[Params, Params]] = {
    "pharma-placebo": (
        (3.95, 3.52, 3.71, 2.34, 2.14, 2.99, 2.71, 2.29, 1.87, 2.49, 2.06, 1.83, 2.54, 2.12, 1.77,
         2.70),
        (1.34, 1.74, 1.74, 1.74, 1.74, 1.74, 1.74, 1.53, 1.52, 1.52, 1.51, 1.52, 1.54, 1.53, 1.52,
         1.52),
    ),
    "pharma-pharma": (
        (4.18, 3.75, 3.95, 2.58, 2.37, 3.23, 2.94, 2.53, 2.10, 2.73, 2.29, 2.06, 2.78, 2.35, 2.00,
         2.93),
        (1.41, 1.79, 1.79, 1.79, 1.79, 1.79, 1.79, 1.58, 1.58, 1.58, 1.58, 1.58, 1.60, 1.60, 1.58,
         1.58),
    ),
    "nonpharma-placebo": (
        (4.17, 3.74, 3.93, 2.56, 2.36, 3.21, 2.93, 2.51, 2.10, 2.71, 2.28, 2.05, 2.77, 2.34, 1.99,
         2.92),
        (1.55, 1.91, 1.91, 1.91, 1.91, 1.91, 1.92, 1.72, 1.71, 1.71, 1.71, 1.71, 1.73, 1.72, 1.71,
         1.71),
    ),
    "nonpharma-pharma": (
        (2.92, 2.49, 2.68, 1.31, 1.11, 1.96, 1.67, 1.26, 0.84, 1.46, 1.03, 0.80, 1.51, 1.09, 0.74,
         1.67),
        (1.02, 1.50, 1.51, 1.50, 1.50, 1.51, 1.51, 1.25, 1.24, 1.24, 1.24, 1.25, 1.27, 1.27, 1.24,
         1.25),
    ),
    "nonpharma-nonpharma": (
        (3.50, 3.08, 3.27, 1.90, 1.69, 2.55, 2.26, 1.85, 1.43, 2.05, 1.61, 1.38, 2.10, 1.67, 1.33,
         2.26),
        (1.26, 1.68, 1.68, 1.68, 1.68, 1.68, 1.68, 1.46, 1.45, 1.45, 1.45, 1.45, 1.47, 1.47, 1.45,
         1.45),
    ),
}  # fmt: skip
_RHODES_OUTCOMES = (
    "obstetric", "resource-use", "internal-structure", "physical-health", "signs-symptoms",
    "mental-health", "biological-marker", "subjective",
)  # fmt: skip
_RHODES: dict[tuple[str, str], tuple[Params, Params]] = {
    ("pharma-placebo", "other"): (
        (4.13, 2.55, 2.43, 3.16, 3.00, 2.99, 3.41, 2.76),
        (2.34, 2.73, 2.50, 2.50, 2.50, 2.16, 2.83, 2.58),
    ),
    ("pharma-pharma", "other"): (
        (4.40, 2.83, 2.70, 3.44, 3.27, 3.27, 3.68, 3.03),
        (2.31, 2.70, 2.46, 2.44, 2.47, 2.14, 2.78, 2.59),
    ),
    ("nonpharma", "other"): (
        (3.99, 2.41, 2.29, 3.02, 2.86, 3.85, 3.27, 2.62),
        (2.11, 2.57, 2.32, 2.27, 2.33, 1.93, 2.66, 2.41),
    ),
    ("pharma-placebo", "respiratory"): (
        (6.03, 4.46, 4.33, 5.07, 4.90, 4.90, 5.31, 4.66),
        (2.36, 2.74, 2.51, 2.51, 2.50, 2.17, 2.83, 2.59),
    ),
    ("pharma-pharma", "respiratory"): (
        (6.31, 4.73, 4.61, 5.34, 5.18, 5.17, 5.59, 4.94),
        (2.31, 2.70, 2.46, 2.45, 2.47, 2.14, 2.78, 2.59),
    ),
    ("nonpharma", "respiratory"): (
        (5.89, 4.32, 4.19, 4.93, 4.76, 4.76, 5.17, 4.52),
        (2.21, 2.57, 2.33, 2.28, 2.33, 1.94, 2.66, 2.41),
    ),
    ("pharma-placebo", "cancer"): (
        (1.57, -0.01, 0.13, 0.60, 0.44, 0.43, 0.85, 0.20),
        (2.45, 2.83, 2.61, 2.61, 2.60, 2.28, 2.93, 2.68),
    ),
    ("pharma-pharma", "cancer"): (
        (1.85, 0.27, 0.14, 0.88, 0.71, 0.71, 1.13, 0.48),
        (2.41, 2.79, 2.56, 2.55, 2.57, 2.25, 2.87, 2.68),
    ),
    ("nonpharma", "cancer"): (
        (1.43, -0.15, -0.27, 0.46, 0.30, 0.29, 0.71, 0.06),
        (2.24, 2.68, 2.45, 2.40, 2.46, 2.08, 2.78, 2.53),
    ),
}  # fmt: skip
_TURNER_2012_OUTCOMES = ("all-cause-mortality", "semi-objective", "subjective")
_TURNER_2012: dict[str, tuple[Params, Params]] = {
    "pharma-placebo": ((4.06, 3.02, 2.13), (1.45, 1.85, 1.58)),
    "pharma-pharma": ((4.27, 3.23, 2.34), (1.48, 1.88, 1.62)),
    "nonpharma": ((3.93, 2.89, 2.01), (1.51, 1.91, 1.64)),
}
PRESETS = ("turner2012", "turner2015", "rhodes2015")


def preset(name: str, words: list[str]) -> tuple[str, Params]:
    """Family and parameters of one of `PRESETS`.

    `words` is empty (any outcome; not for Turner 2012), or outcome and comparison, for Rhodes also
    the medical area (other, respiratory, cancer). Raises ValueError naming the allowed words.
    """
    if name == "turner2012":
        if len(words) != 2:
            raise ValueError("turner2012 needs its words: turner2012(outcome,comparison)")
        return _lognormal(words, _TURNER_2012_OUTCOMES, _TURNER_2012)
    if name == "turner2015":
        if not words:
            return "lognormal2", (-2.56, 1.74)
        _count(name, words, (2,), "outcome,comparison")
        return _lognormal(words, _TURNER_OUTCOMES, _TURNER)
    if not words:
        return "logt2", (5.0, -3.44, 2.59)
    _count(name, words, (2, 3), "outcome,comparison[,area]")
    index = _RHODES_OUTCOMES.index(_one_of(words[0], _RHODES_OUTCOMES, "outcome"))
    comparison = _one_of(words[1], tuple(dict.fromkeys(c for c, _ in _RHODES)), "comparison")
    areas = tuple(dict.fromkeys(a for _, a in _RHODES))
    area = _one_of(words[2], areas, "area") if len(words) > 2 else "other"
    location, scale = _RHODES[comparison, area]
    return "logt2", (5.0, -location[index], scale[index])


def _lognormal(
    words: list[str], outcomes: tuple[str, ...], table: dict[str, tuple[Params, Params]]
) -> tuple[str, Params]:
    index = outcomes.index(_one_of(words[0], outcomes, "outcome"))
    location, scale = table[_one_of(words[1], tuple(table), "comparison")]
    return "lognormal2", (-location[index], scale[index])


def _count(name: str, words: list[str], allowed: tuple[int, ...], form: str) -> None:
    if len(words) not in allowed:
        raise ValueError(f"{name} stands alone (any outcome) or as {name}({form})")


def _one_of(word: str, allowed: tuple[str, ...], what: str) -> str:
    if word in allowed:
        return word
    near = difflib.get_close_matches(word, allowed, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ValueError(f"{what} {word!r} is not known.{hint} Allowed: {', '.join(allowed)}")
