import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nssi_meta.evidence.convert import (
    TRANSFORMS,
    d_to_log_or,
    d_to_rpb,
    delta,
    log_or_to_d,
    r_to_d,
    r_to_z,
    rpb_to_d,
)
from nssi_meta.evidence.reconstruct import five_number, two_by_two, wald
from nssi_meta.evidence.vcalc import aggregate, vcalc

RTOL = 1e-10  # see tests/reference/README.md
REFERENCE = Path(__file__).parents[1] / "reference" / "conversions.json"
CASES = json.loads(REFERENCE.read_text(encoding="utf-8"))
DELTAS = {
    "d->lnOR logistic": d_to_log_or,
    "lnOR->d logistic": log_or_to_d,
    "r->d": r_to_d,
    "r->z": r_to_z,
    "d->r_pb": d_to_rpb,
}


def fivenum(fn, i):
    rest = {k: v for k, v in i.items() if k not in ("n", "median")}
    dist = "lnorm" if fn.endswith("lnorm") else "norm"
    return dict(
        zip(("mean", "sd"), five_number(i["n"], i["median"], dist=dist, **rest), strict=True)
    )


def chain(fn, i):
    r, n = i["ri"], i["ni"]
    vr = (1 - r**2) ** 2 / (n - 1)
    d, vd = delta(r, vr, r_to_d)
    log_or, v_log_or = delta(d, vd, d_to_log_or)
    return {"r": r, "vr": vr, "d": d, "vd": vd, "lnOR": log_or, "vlnOR": v_log_or}


def from_d(fn, i):
    r, log_or = d_to_rpb(i["d"]), d_to_log_or(i["d"])
    return {"d2r": r, "d2z": r_to_z(r), "d2logOR": log_or, "d2OR": np.exp(log_or)}


def from_r(fn, i):
    d = rpb_to_d(i["r"])
    return {"r2d": d, "r2z": r_to_z(i["r"]), "r2logOR": d_to_log_or(d)}


def from_log_or(fn, i):
    d = log_or_to_d(i["logOR"])
    return {"logOR2d": d, "logOR2r": d_to_rpb(d), "logOR2z": r_to_z(d_to_rpb(d))}


def wald_ci(fn, i):
    found = wald(i["out"], ci_low=i["ci.lb"], ci_high=i["ci.ub"], transform=np.log)
    return dict(zip(("yi", "vi"), found, strict=True))


def wald_p(fn, i):
    return dict(zip(("yi", "vi"), wald(i["out"], pval=i["pval"]), strict=True))


def table(fn, i):
    cells = two_by_two(i["ni"], i["n1i"], i["n2i"], phi=i["ri"])
    return dict(zip(("ai", "bi", "ci", "di"), cells, strict=True))


def by_delta(fn, i):
    return dict(zip(("yi", "vi"), delta(i["yi"], i["vi"], DELTAS[fn.split(":")[1]]), strict=True))


def transform(fn, i):
    return TRANSFORMS[fn.removeprefix("transf.").split("(")[0]](*i.values())


def covariance(fn, i):
    frame = pd.DataFrame({"vi": i["vi"], "yi": 0.1, "scale": "z", "sample_id": i["cluster"]})
    frame["sample_id"] = frame["sample_id"].astype(str)
    return vcalc(frame.assign(control_id="", n_case=20.0, n_control=np.nan), rho=0.6)


def pooled(fn, i):
    return aggregate(i["yi"], i["vi"], i["cluster"]).to_dict("list")


ROUTES = {
    "conv.fivenum": fivenum,
    "chain": chain,
    "RoBMA d": from_d,
    "RoBMA r": from_r,
    "RoBMA logOR": from_log_or,
    "conv.wald CI": wald_ci,
    "conv.wald p": wald_p,
    "conv.2x2": table,
    "conv.delta": by_delta,
    "transf.": transform,
    "vcalc": covariance,
    "aggregate": pooled,
}


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["fn"])
def test_agrees_with_the_reference(case):
    route = next(f for start, f in ROUTES.items() if case["fn"].startswith(start))
    found, expected = route(case["fn"], case["inputs"]), case["value"]
    if not isinstance(expected, dict):
        found, expected = {"value": found}, {"value": expected}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=RTOL, atol=1e-13)


PAIRS = [
    ("rtoz", "ztor", 0.3),
    ("rtod", "dtorbis", 0.3),
    ("rpbtod", "dtorpb", 0.3),
    ("rpbtorbis", "rtorpb", 0.3),
    ("dtolnor.logis", "lnortod.logis", 0.7),
    ("dtolnor.norm", "lnortod.norm", 0.7),
    ("logit", "ilogit", 0.2),
    ("arcsin", "iarcsin", 0.2),
    ("ahw", "iahw", 0.8),
    ("abt", "iabt", 0.8),
    ("r2toz", "ztor2", 0.4),
]


@pytest.mark.parametrize(("there", "back", "x"), PAIRS)
def test_there_and_back(there, back, x):
    assert TRANSFORMS[back](TRANSFORMS[there](x)) == pytest.approx(x, rel=1e-12)


@pytest.mark.parametrize(("there", "back", "n"), [("pft", "ipft", 30), ("irft", "iirft", 30.0)])
def test_there_and_back_with_sizes(there, back, n):
    for x in (0.0, 0.2, 0.9):
        assert TRANSFORMS[back](TRANSFORMS[there](x, n), n) == pytest.approx(x, abs=1e-12)


def test_what_a_d_means():
    # Two normals one SD apart, from tables of the normal distribution.
    assert TRANSFORMS["dtocles"](1.0) == pytest.approx(0.7602499389, rel=1e-9)
    assert TRANSFORMS["dtou3"](1.0) == pytest.approx(0.8413447461, rel=1e-9)
    # Cohen (1988), table 2.2.1: 55.4%
    assert TRANSFORMS["dtou1"](1.0) == pytest.approx(0.554, abs=5e-4)
    assert TRANSFORMS["dtou1"](-1.0) == TRANSFORMS["dtou1"](1.0)
    assert TRANSFORMS["dtomd"](0.5, 12.0) == 6.0


def test_risk_difference_follows_from_the_table():
    # 20 of 100 against 40 of 100
    log_or = np.log(20 * 60 / (80 * 40))
    assert TRANSFORMS["lnortord"](log_or, 0.4) == pytest.approx(-0.2)
    assert TRANSFORMS["lnortorr"](log_or, 0.4) == pytest.approx(0.5)


def test_mean_of_a_log_normal():
    assert TRANSFORMS["exp.int"](0.3, 0.5) == pytest.approx(np.exp(0.3 + 0.25), rel=1e-12)


@pytest.mark.parametrize("statistic", ["phi", "odds_ratio", "chi2"])
def test_a_table_is_found_again(statistic):
    a, b, c, d = 28.0, 14.0, 12.0, 18.0
    n, phi = a + b + c + d, (a * d - b * c) / np.sqrt((a + b) * (c + d) * (a + c) * (b + d))
    yates = n * (abs(a * d - b * c) - n / 2) ** 2 / ((a + b) * (c + d) * (a + c) * (b + d))
    value = {"phi": phi, "odds_ratio": a * d / (b * c), "chi2": yates}[statistic]
    assert two_by_two(n, a + b, a + c, **{statistic: value}) == (a, b, c, d)


def test_a_table_without_association():
    assert two_by_two(100, 40, 50, odds_ratio=1.0) == (20, 20, 30, 30)


def test_five_numbers_of_normal_data():
    # Quartiles, minimum and maximum of many normal values give back mean and SD.
    rng = np.random.default_rng(1)
    x = np.quantile(rng.normal(50, 8, size=(2000, 40)), [0, 0.25, 0.5, 0.75, 1], axis=1)
    found = five_number(40, x[2], min=x[0], q1=x[1], q3=x[3], max=x[4])
    # Monte Carlo error of the mean of 2000 estimates: 1.3/sqrt(2000) = 0.03.
    assert np.mean(found[0]) == pytest.approx(50, abs=0.12)
    assert np.mean(found[1]) == pytest.approx(8, abs=0.12)


def test_impossible_reports_raise():
    with pytest.raises(ValueError, match="q1 <= median <= q3 does not hold"):
        five_number(20, 5, q1=6, q3=8)
    with pytest.raises(ValueError, match="n must be 5 or more"):
        five_number(4, 5, q1=4, q3=8)
    with pytest.raises(ValueError, match="give min and max"):
        five_number(40, 5, q1=4)
    with pytest.raises(ValueError, match="negative cell"):
        two_by_two(400, 200, 50, phi=0.54)
    with pytest.raises(ValueError, match="wald needs"):
        wald(0.5)
