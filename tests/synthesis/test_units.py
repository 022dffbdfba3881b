"""Days or weeks: the unit of the outcome changes nothing but the unit of the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from nssi_meta.cli import cli
from nssi_meta.evidence.simple import read_simple
from nssi_meta.synthesis.pooled import pool

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
        table.assign(ni=table["n1i"] + table["n2i"]).to_csv(path, index=False)
        return path

    return write


@pytest.mark.parametrize("known", [SDS, SIZES, {**SDS, **SIZES}], ids=["sd", "ni", "both"])
@pytest.mark.parametrize(
    ("mu", "tau", "kind"),
    [
        ("normal(0.1,1)", "halfnormal(0.5)", "shortest"),
        ("flat", "rhodes2015(resource-use,nonpharma)", "central"),
        ("normal(0,1)", "lognormal(-1,1)", "central"),
        ("normal(0,1)", "jeffreys", "central"),
        ("normal(0,1)", "uniform(0,2)", "central"),
        ("normal(0,1)", "zero", "central"),
    ],
)
def test_days_and_weeks(file_of, known, mu, tau, kind):
    found = {}
    for unit in (1.0, 1 / 7):
        frame = read_simple(file_of(unit), "yi", vi="vi", study="study", **known)
        pools = pool(frame, measure="MD", mu_prior=mu, tau_prior=tau, interval=kind)
        delta = pool(
            frame, measure="MD", mu_prior=mu, tau_prior=tau, interval=kind, delta=3.0 * unit
        )
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
        (["--measure", "SMD"], 0, ""),
        ([], 0, "suit standardised effects"),
        (["--measure", "MD"], 2, "--ni"),
        (["--measure", "meandiff"], 2, "is not known; nearest"),
        (["--sd", "sd1i"], 2, "--sd needs --measure"),
        (["--measure", "MD", "--sd", "sd3i"], 1, "no column 'sd3i'"),
        (["--measure", "MD", "--sd", "sd1i", "--sd", "sd2i", "--sd", "n1i"], 2, "one or two"),
    ],
)
def test_on_the_command_line(file_of, more, code, says):
    args = ["pool", str(file_of(1.0)), "--yi", "yi", "--vi", "vi", *more]
    result = CliRunner().invoke(cli, args)
    assert result.exit_code == code, result.output
    assert says in " ".join(result.output.split())
    if more == ["--measure", "SMD"]:
        assert "Note" not in result.output
