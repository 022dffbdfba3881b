"""Days or weeks: the unit of the outcome changes nothing but the unit of the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from nssi_meta.cli import cli
from nssi_meta.evidence.simple import read_simple
from nssi_meta.models.priors import parse_prior
from nssi_meta.synthesis.pooled import pool
from nssi_meta.synthesis.regression import regress

STROKE = Path(__file__).parent.parent / "reference" / "normand1999_MD.csv"
#: Asked for: 1e-9. Measured: 5e-14.
TOLERANCE = 1e-11
IN_UNIT = ["mu_median", "mu_mean", "mu_sd", "mu_low", "mu_high", "tau_median", "tau_low",
           "tau_high", "pred_low", "pred_high"]  # fmt: skip
FREE = ["p_positive", "p_beyond", "share_beyond"]
SDS, SIZES = {"sd": ("sd1i", "sd2i")}, {"ni": "ni"}


@pytest.fixture(scope="module")
def file_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stroke")

    def write(unit: float) -> Path:
        table = pd.read_csv(STROKE)
        table[["yi", "sd1i", "sd2i"]] *= unit
        table["vi"] *= unit**2
        path = folder / f"{unit:.3f}.csv"
        table["arm"] = ["x", "x", *[f"a{i}" for i in range(len(table) - 2)]]
        table.assign(ni=table["n1i"] + table["n2i"]).to_csv(path, index=False)
        return path

    return write


@pytest.mark.parametrize("known", [SDS, SIZES, {**SDS, **SIZES}], ids=["sd", "ni", "both"])
@pytest.mark.parametrize(
    ("mu", "tau", "kind"),
    [
        (None, None, "shortest"),
        ("normal(3,30)", None, "central"),
        ("normal(3,30)", "halfnormal(15)", "shortest"),
        ("flat", "rhodes2015(resource-use,nonpharma)", "central"),
        (None, "lognormal(2,1)", "central"),
        (None, "jeffreys", "central"),
        (None, "uniform(0,60)", "central"),
        (None, "zero", "central"),
    ],
)
def test_days_and_weeks(file_of, known, mu, tau, kind):
    """Default and published priors follow the SD; a person's own numbers are in days or weeks."""
    found = {}
    for unit in (1.0, 1 / 7):
        frame = read_simple(file_of(unit), "yi", vi="vi", study="study", **known)
        own = {"mu_prior": in_unit(mu, "mu", unit), "tau_prior": in_unit(tau, "tau", unit)}
        pools = pool(frame, measure="MD", interval=kind, **own)
        delta = pool(frame, measure="MD", interval=kind, delta=3.0 * unit, **own)
        row, factors = pools.summary().iloc[0], pools.bayes_factors().iloc[0]
        found[unit] = np.concatenate(
            [
                row[IN_UNIT].to_numpy(dtype=float) / unit,
                row[FREE].to_numpy(dtype=float),
                delta.summary().iloc[0][FREE].to_numpy(dtype=float),
                factors[["bf10_mu", "bf10_tau"]].to_numpy(dtype=float),
                pools.rows["shrunk_median"].to_numpy(dtype=float) / unit,
            ]
        )
    np.testing.assert_allclose(found[1 / 7], found[1.0], rtol=TOLERANCE, equal_nan=True)


def in_unit(text, role, unit):
    """What a person who counts in another unit would write for the same prior."""
    if text is None or text.startswith("rhodes2015"):
        return text
    return str(parse_prior(text, role).scaled(unit))


def test_numbers_of_an_own_prior_are_in_the_outcome_s_unit(file_of):
    """As without a measure, where no default is left: the SD scales defaults alone."""
    own = {"mu_prior": "normal(0,20)", "tau_prior": "halfnormal(15)"}
    frame = read_simple(file_of(1.0), "yi", vi="vi", **SDS)
    with_measure, without = (pool(frame, measure=m, **own).summary().iloc[0] for m in ("MD", None))
    assert with_measure["mu_prior"] == "normal(0,20)"
    assert with_measure[IN_UNIT].tolist() == without[IN_UNIT].tolist()


def test_priors_that_were_all_given_need_no_sd(file_of):
    """The same numbers as without a measure; only chances beyond 0.2 SD cannot be told."""
    own = {"mu_prior": "normal(0,20)", "tau_prior": "halfnormal(10)"}
    frame = read_simple(file_of(1.0), "yi", vi="vi")
    found, plain = (pool(frame, measure=m, **own).summary().iloc[0] for m in ("MD", None))
    assert found[IN_UNIT].tolist() == plain[IN_UNIT].tolist()
    assert found[["p_beyond", "share_beyond"]].isna().all()
    assert found["flags"].startswith("chances beyond delta left out: give delta")
    with_delta, same = (
        pool(frame, measure=m, delta=3.0, **own).summary().iloc[0] for m in ("MD", None)
    )
    assert with_delta[FREE].tolist() == same[FREE].tolist()
    assert with_delta["flags"] == ""
    known = read_simple(file_of(1.0), "yi", vi="vi", **SDS)
    assert pool(known, measure="MD", **own).summary()["p_beyond"].notna().all()


@pytest.mark.parametrize(
    ("own", "asked"),
    [
        ({"mu_prior": "normal(0,20)"}, "too: --tau-prior, --omega-prior$"),
        ({"mu_prior": "normal(0,20)", "tau_prior": "halfnormal(10)"}, "too: --omega-prior$"),
        ({"mu_prior": "flat", "tau_prior": "rhodes2015"}, "too: --tau-prior, --omega-prior$"),
    ],
)
def test_a_prior_that_follows_the_sd_asks_for_it(file_of, own, asked):
    frame = read_simple(file_of(1.0), "yi", vi="vi", study="study")
    frame["study_id"] = [f"s{i // 2}" for i in range(len(frame))]
    with pytest.raises(ValueError, match=asked):
        pool(frame, measure="MD", **own)
    with pytest.raises(ValueError, match=r"too: .*--beta-prior$"):
        regress(frame.assign(x=range(len(frame))), ["x"], measure="MD", **own)


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"tau_prior": "halfcauchy(0.5)"}, "tau ~ halfcauchy(0.5) (half an SD would be 14.8)"),
        (
            {"tau_prior": "halfcauchy(0.5)", "mu_prior": "normal(0,1)"},
            "mu ~ normal(0,1) (one SD would be 29.6), tau ~ halfcauchy(0.5) (half an SD would be",
        ),
        ({"tau_prior": "jeffreys", "mu_prior": "flat", "omega_prior": "halfnormal(1)"}, ""),
        ({"tau_prior": "rhodes2015"}, ""),
        ({}, ""),
    ],
)
def test_what_a_given_number_means_is_said_beside_the_sd(file_of, own, told):
    frame = read_simple(file_of(1.0), "yi", vi="vi", **SDS)
    flags = pool(frame, measure="MD", **own).summary().loc[0, "flags"]
    assert (f"read in the outcome's unit: {told}" in flags) if told else ("unit" not in flags)
    assert "outcome's unit" not in pool(frame, **own).summary().loc[0, "flags"]


def test_omega_s_prior_follows_the_same_rule(file_of):
    frame = read_simple(file_of(1.0), "yi", vi="vi", **SDS)
    frame["study_id"] = [f"s{i // 2}" for i in range(len(frame))]
    (cell,) = pool(frame, measure="MD").cells
    assert str(cell.priors[2]) == str(parse_prior("halfnormal(0.5)", "tau").scaled(cell.unit.scale))
    wide, narrow = (pool(frame, measure="MD", omega_prior=f"halfnormal({s})") for s in (40, 0.001))
    assert str(wide.cells[0].priors[2]) == "halfnormal(40)"
    assert narrow.table.loc[0, "omega_median"] < 0.001 < wide.table.loc[0, "omega_median"]


def test_without_a_measure_the_unit_matters(file_of):
    """The trap itself: priors as they stand give another answer in weeks than in days."""
    one, other = (
        pool(read_simple(file_of(u), "yi", vi="vi")).summary().iloc[0]["mu_median"] / u
        for u in (1.0, 1 / 7)
    )
    assert abs(one / other) < 0.5


def test_people_are_counted_from_sizes(file_of):
    frame = read_simple(file_of(1.0), "yi", vi="vi", study="study", ni="ni")
    table = pd.read_csv(STROKE)
    people = pool(frame).summary().iloc[0]["n_participants"]
    assert people == table["n1i"].sum() + table["n2i"].sum()


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--measure", "MD", "--sd", "sd1i", "--sd", "sd2i"], 0, "priors are in units of 29.58"),
        (
            ["--measure", "MD", "--sd", "sd1i", "--sd", "sd2i", "--mu-prior", "normal(0,20)"], 0,
            "mu ~ normal(0,20) as given, tau ~ halfnormal(14.79).",
        ),
        (
            ["--measure", "MD", "--sd", "sd1i", "--sd", "sd2i", "--study", "arm"], 0,
            "tau ~ halfnormal(14.79), omega ~ halfnormal(14.79).",
        ),
        (
            ["--measure", "MD", "--sd", "sd1i", "--sd", "sd2i", "--study", "arm",
             "--omega-prior", "halfnormal(3)"], 0, "omega ~ halfnormal(3) as given.",
        ),
        (["--study", "arm", "--tau-prior", "halfnormal(9)"], 0, "set --mu-prior, --omega-prior."),
        (["--omega-prior", "normal(0,1)"], 2, "halfnormal(scale)"),
        (["--tau-prior", "flat", "--mu-prior", "flat", "--by", "arm"], 2, "x: an improper prior"),
        (["--measure", "SMD"], 0, ""),
        ([], 0, "suit standardised effects"),
        (["--measure", "MD"], 2, "--ni"),
        (
            ["--measure", "MD", "--mu-prior", "normal(0,20)", "--tau-prior", "halfnormal(10)"], 0,
            "chances beyond delta left out",
        ),
        (
            ["--measure", "MD", "--sd", "sd1i", "--sd", "sd2i", "--tau-prior", "halfcauchy(0.5)"],
            0, "read in the outcome's unit: tau ~ halfcauchy(0.5) (half an SD would be 14.8)",
        ),
        (["--measure", "meandiff"], 2, "is not known; nearest"),
        (["--sd", "sd1i"], 2, "--sd needs --measure"),
        (["--measure", "MD", "--sd", "sd3i"], 1, "no column 'sd3i'"),
        (["--measure", "MD", "--sd", "sd1i", "--sd", "sd2i", "--sd", "n1i"], 2, "one or two"),
    ],
)  # fmt: skip
def test_on_the_command_line(file_of, more, code, says):
    args = ["pool", str(file_of(1.0)), "--yi", "yi", "--vi", "vi", *more]
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == code, result.output
    assert says in " ".join(result.output.split())
    if more == ["--measure", "SMD"]:
        assert "Note" not in result.output
