"""The words of an effects table: estimands, kinds of statistic, columns and their ranges, as data.

Mechanisms and conditions are *not* here: a review brings them in `mechanisms.csv` and
`conditions.csv`. What is here is what the package can compute with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Estimand:
    """What an effect is about, the scale it is pooled on and the sample sizes that it needs."""

    name: str
    scale: str
    sizes: tuple[str, ...]


ESTIMANDS: dict[str, Estimand] = {
    e.name: e
    for e in (
        Estimand("case_control", "g", ("n_case", "n_control")),
        Estimand("association", "z", ("n_total",)),
        Estimand("within_person", "d_within", ("n_total",)),
        Estimand("odds", "log_or", ("n_case", "n_control")),
    )
}

Direction = Literal["in the number", "required", "sign", "zero"]
"""Where the sign of a row comes from: the number itself, or `direction` (any, + or -, only 0)."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One way in which a paper reports an effect, and the cells that a row of this kind fills.

    `sizes`: whether the sample sizes of the estimand are needed (see `Estimand.sizes`).
    `signed_by`: the column whose sign is the sign of the effect; for two columns their difference.
    """

    name: str
    estimands: tuple[str, ...]
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    sizes: bool = True
    direction: Direction = "in the number"
    signed_by: tuple[str, ...] = ()

    def columns(self) -> tuple[str, ...]:
        """Every statistic column that a row of this kind may fill."""
        return self.required + self.optional


_CC = ("case_control",)
_CC_OR_ASSOCIATION = ("case_control", "association")
_WITHIN = ("within_person",)
_ODDS = ("odds",)
_ALL = tuple(ESTIMANDS)
_CI = ("ci_low", "ci_high", "ci_level")
_COUNTS = ("events_case", "total_case", "events_control", "total_control")
_MEANS = ("mean_case", "mean_control")

STATISTICS: dict[str, Statistic] = {
    s.name: s
    for s in (
        Statistic(
            "means_sd",
            _CC,
            ("mean_case", "sd_case", "mean_control", "sd_control"),
            signed_by=_MEANS,
        ),
        Statistic(
            "means_se",
            _CC,
            ("mean_case", "se_case", "mean_control", "se_control"),
            signed_by=_MEANS,
        ),
        Statistic("t", _CC, ("t",), ("df",), signed_by=("t",)),
        Statistic("t_abs", _CC, ("t",), ("df",), direction="zero"),
        Statistic("F", _CC, ("f",), ("df",), direction="required"),
        Statistic("z", _CC_OR_ASSOCIATION, ("z",), signed_by=("z",)),
        Statistic("p_exact", (*_CC_OR_ASSOCIATION, "odds"), ("p",), direction="required"),
        Statistic("p_threshold", _ALL, ("p_bound",), direction="sign"),
        Statistic("ns", _ALL, ("p_bound",), direction="zero"),
        Statistic("d", _CC, ("d",), (*_CI, "se"), signed_by=("d",)),
        Statistic("g", _CC, ("g",), (*_CI, "se"), signed_by=("g",)),
        Statistic("eta2", _CC, ("eta2",), ("df",), direction="required"),
        Statistic("r", ("association",), ("r",), signed_by=("r",)),
        Statistic("beta_se", ("association",), ("beta", "se"), signed_by=("beta",)),
        Statistic("or_ci", _ODDS, ("odds_ratio", *_CI), sizes=False, signed_by=("odds_ratio",)),
        Statistic("counts", _ODDS, _COUNTS, sizes=False),
        Statistic("t_paired", _WITHIN, ("t",), ("r_within", "df"), signed_by=("t",)),
        Statistic(
            "prepost",
            _WITHIN,
            ("mean_case", "mean_control", "sd_control", "r_within"),
            signed_by=_MEANS,
        ),
        Statistic("yi_vi", _ALL, ("yi", "vi"), sizes=False, signed_by=("yi",)),
        Statistic("yi_sei", _ALL, ("yi", "sei"), sizes=False, signed_by=("yi",)),
    )
}

INTERVAL_OF: dict[str, str] = {"d": "d", "g": "g", "or_ci": "odds_ratio"}
"""Kinds that come with a confidence interval, and the estimate that it must contain."""

BOUND_KINDS = ("p_threshold", "ns")
"""Kinds that say only in which interval the estimate fell."""

READY_MADE = ("yi", "vi", "sei")
READY_MADE_KINDS = ("yi_vi", "yi_sei")

STATUSES = ("use", "doubtful", "duplicate", "overlap")
BOUNDS = ("stated", "assumed")
DIRECTIONS = ("+", "-", "0")
CONFIDENCES = ("high", "medium", "low")
ROLES = ("index", "comorbid", "reference", "mixed")
CASE_ROLES = ("index", "comorbid")

COMPARATOR_OF: dict[str, str] = {"association": "none", "within_person": "within"}
"""Estimands without a comparison group, and the word that stands in `comparator` instead."""

COMPARATOR_WORDS = ("none", "within")
WITHOUT_GROUPS = "none"

IDENTIFIERS = ("effect_id", "study_id", "sample_id", "control_id")
REQUIRED_COLUMNS = (
    *IDENTIFIERS,
    "condition",
    "comparator",
    "estimand",
    "mechanism",
    "statistic",
    "direction",
    "status",
)
NOT_EMPTY = tuple(c for c in REQUIRED_COLUMNS if c not in ("control_id", "direction"))

MECHANISM_KEY, MECHANISM_COLUMNS = "mechanism", ("mechanism", "label", "system")
CONDITION_KEY, CONDITION_COLUMNS = "id", ("id", "label", "role")


@dataclass(frozen=True, slots=True)
class Range:
    """The numbers that a column may hold; `above` and `below` are themselves excluded."""

    above: float | None = None
    below: float | None = None
    least: float | None = None
    most: float | None = None
    whole: bool = False
    remedy: str = "copy the number from the paper again"

    def allowed(self) -> str:
        """The range in words, for messages."""
        limits = (
            ("above", self.above),
            ("of at least", self.least),
            ("below", self.below),
            ("of at most", self.most),
        )
        words = [f"{word} {limit:g}" for word, limit in limits if limit is not None]
        noun = "whole numbers" if self.whole else "numbers"
        return f"{noun} {' and '.join(words)}".strip()


_SPREAD = Range(
    above=0, remedy="copy the standard deviation or error again; unknown: choose another statistic"
)
_P = Range(
    above=0,
    below=1,
    remedy="for 'p < .05' use statistic p_threshold with p_bound; for 'p = .000' use p_bound 0.001",
)
_R = Range(above=-1, below=1, remedy="copy the correlation again; a slope is statistic beta_se")
_SIZE = Range(least=2, whole=True, remedy="give the number of people analysed, or leave it empty")
_ANY = Range()

RANGES: dict[str, Range] = {
    "n_case": _SIZE,
    "n_control": _SIZE,
    "n_total": _SIZE,
    "pct_female": Range(least=0, most=100, remedy="give a percentage, 55 for 55%"),
    "mean_age": Range(above=0, most=120, remedy="give years"),
    "mean_case": _ANY,
    "sd_case": _SPREAD,
    "se_case": _SPREAD,
    "mean_control": _ANY,
    "sd_control": _SPREAD,
    "se_control": _SPREAD,
    "t": _ANY,
    "f": Range(least=0, remedy="F is never negative; for t use statistic t"),
    "df": Range(above=0, remedy="give the (denominator) degrees of freedom"),
    "z": _ANY,
    "p": _P,
    "p_bound": _P,
    "r": _R,
    "r_within": _R,
    "d": _ANY,
    "g": _ANY,
    "beta": _ANY,
    "se": _SPREAD,
    "odds_ratio": Range(above=0, remedy="give the odds ratio itself, not its logarithm"),
    "ci_low": _ANY,
    "ci_high": _ANY,
    "ci_level": Range(above=0, below=1, remedy="give the level as a share, 0.95 for 95%"),
    "events_case": Range(least=0, whole=True, remedy="give counts, not percentages"),
    "total_case": Range(least=1, whole=True, remedy="give counts, not percentages"),
    "events_control": Range(least=0, whole=True, remedy="give counts, not percentages"),
    "total_control": Range(least=1, whole=True, remedy="give counts, not percentages"),
    "eta2": Range(least=0, below=1, remedy="eta squared is a share of variance"),
    "yi": _ANY,
    "vi": Range(above=0, remedy="vi is the sampling variance, the squared standard error"),
    "sei": Range(above=0, remedy="sei is the standard error, the root of the sampling variance"),
    "year": Range(least=1800, most=2100, whole=True, remedy="give four digits, or leave it empty"),
}
NUMBERS = tuple(RANGES)

#: Least and largest size of an effect, its variance and its error, in whatever unit: what
#: quadrature resolves. 0 is judged by RANGES.
SIZES: dict[str, tuple[float, float]] = {
    "yi": (0.0, 1e12),
    "vi": (1e-60, 1e24),
    "sei": (1e-30, 1e12),
}

STATISTIC_COLUMNS = tuple(c for c in NUMBERS if any(c in s.columns() for s in STATISTICS.values()))
"""Columns that belong to some kind of statistic (sample sizes belong to all)."""

COLUMNS: tuple[str, ...] = tuple(
    """
    effect_id study_id sample_id control_id condition condition_note comparator comparator_note
    estimand mechanism measure modality stimulus design pure_sample n_case n_control n_total
    pct_female mean_age age_group statistic mean_case sd_case se_case mean_control sd_control
    se_control t f df z p p_bound r r_within d g beta se odds_ratio ci_low ci_high ci_level
    events_case total_case events_control total_control eta2 yi vi sei direction reported seen_in
    confidence bound status exclude_reason bibliography authors year title doi pubmed url note
    decision
    """.split()  # noqa: SIM905, a list of seventy quoted words would hide the order
)

DERIVED_COLUMNS = ("scale", "kind", "yi", "vi", "sei", "lower", "upper", "formula")
