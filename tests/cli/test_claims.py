"""The verbs that read claims and gaps: finished results, bad files, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from nssi_meta.cli import cli

HEADER = "claim_id,kind,mechanism,condition,other_condition,expected,subset,statement"
CLAIMS = f"""{HEADER}
C1,direction,reflex,alpha,,+,,Reflexes are faster
C2,direction,appetite,gamma,,+,,Appetite is larger
"""


def call(*words):
    return CliRunner().invoke(cli, [str(w) for w in words], catch_exceptions=False)


@pytest.fixture
def results(own_review, tmp_path, finished):
    """Finished results whose posterior file holds draws around 0.5 for every cell."""
    import numpy as np
    import xarray as xr

    from nssi_meta.evidence.read import read_effects
    from nssi_meta.synthesis.profiles import joint_data

    evidence = read_effects(own_review)
    data, _ = joint_data(evidence)
    rng = np.random.default_rng(1)
    m, c, n = len(data.mechanisms), len(data.conditions), 500
    mu = 0.5 + 0.3 * rng.standard_normal((1, n, m, c))
    dims = ("chain", "draw")
    posterior = xr.Dataset(
        {
            "mu": (
                (*dims, "mechanism", "condition"),
                mu,
            ),
            "tau": ((*dims, "mechanism"), np.full((1, n, m), 0.1)),
            "omega": (dims, np.full((1, n), 0.1)),
            "tau_0": (dims, np.full((1, n), 0.1)),
            "sigma": ((*dims, "condition"), np.full((1, n, c), 0.6)),
            "R": ((*dims, "condition", "condition_b"), np.tile(np.eye(c), (1, n, 1, 1))),
        },
        coords={"mechanism": list(data.mechanisms), "condition": list(data.conditions)},
    )
    folder = tmp_path / "results"
    (folder / "posterior").mkdir(parents=True)
    tree = xr.DataTree.from_dict({"posterior": posterior})
    tree.attrs |= {"data_sha256": evidence.sha256, "converged": "True"}
    tree.to_netcdf(folder / "posterior" / "profiles.nc", engine="h5netcdf")
    finished(folder, own_review)
    own_review.with_name("claims.csv").write_text(CLAIMS, encoding="utf-8")
    return folder


def test_claims_from_finished_results(own_review, results):
    done = call("claims", own_review, "--results", results, "--format", "json")
    rows = json.loads(done.stdout)
    assert [(r["claim_id"], r["verdict"]) for r in rows] == [
        ("C1", "supported"), ("C2", "no evidence"),
    ]  # fmt: skip
    assert done.exit_code == 0
    table = call("claims", own_review, "--results", results).stdout
    assert "A claim is supported when" in table
    csv = call("claims", own_review, "--results", results, "--readings", "--format", "csv").stdout
    assert "exact rows only" in csv


def test_another_table_of_claims_and_its_problems(own_review, results, tmp_path):
    other = tmp_path / "mine.csv"
    other.write_text(f"{HEADER}\nX1,direction,reflexx,alpha,,+,,Faster\n", encoding="utf-8")
    done = call("claims", own_review, "--claims", other, "--results", results)
    assert done.exit_code == 1
    assert "mine.csv, line 2, column mechanism" in done.stderr
    assert "write 'reflex'" in done.stderr


def test_gaps_from_finished_results(own_review, results):
    done = call("gaps", own_review, "--results", results, "--top", "3", "--format", "json")
    rows = json.loads(done.stdout)
    assert [r["rank"] for r in rows] == [1, 2, 3]
    # more people teach more
    many = call("gaps", own_review, "--results", results, "--top", "1", "--participants", "1000",
                "--format", "json")  # fmt: skip
    assert json.loads(many.stdout)[0]["gain_bits"] > rows[0]["gain_bits"]


def test_a_posterior_of_other_data_is_refused(own_review, results):
    from nssi_meta.evidence.read import read_effects
    from nssi_meta.synthesis.posterior_file import load_posterior

    path = Path(results) / "posterior" / "profiles.nc"
    evidence = read_effects(own_review)
    loaded = load_posterior(path, evidence)
    assert loaded.converged
    assert loaded.draws("mu").shape == (500, 4, 3)
    with pytest.raises(ValueError, match="holds other mechanisms"):
        load_posterior(path, evidence.select(mechanism=["reflex", "grip"]))
    own_review.write_text(own_review.read_text("utf-8") + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="made from other data"):
        load_posterior(path, read_effects(own_review))


@pytest.mark.parametrize("verb", ["claims", "gaps"])
def test_the_model_is_fitted_where_results_do_not_fit(own_review, results, monkeypatch, verb):
    def sampled(*args, **kwargs):
        raise RuntimeError("sampled")

    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", sampled)
    with pytest.raises(RuntimeError, match="sampled"):
        call(verb, own_review, "--results", results, "--seed", "1")


def test_a_model_that_did_not_converge_gives_no_results(own_review, results):
    import xarray as xr

    path = Path(results) / "posterior" / "profiles.nc"
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        tree = tree.load()
    tree.attrs["converged"] = "False"
    tree.to_netcdf(path, engine="h5netcdf")
    done = call("claims", own_review, "--results", results)
    assert done.exit_code == 3
    assert "DID NOT CONVERGE" in done.stderr


def test_the_reviews_own_claims_are_well_formed():
    from nssi_meta.evidence.claims import read_claims
    from nssi_meta.evidence.read import read_effects

    data = Path(__file__).parents[2] / "data"
    claims = read_claims(data / "claims.csv", read_effects(data / "effects.csv"))
    assert isinstance(claims, pd.DataFrame)
    assert claims["claim_id"].is_unique
    assert set(claims.loc[claims["disputed_by_review"] != "", "claim_id"]) == {"C03", "C46"}


def test_a_review_of_one_condition_needs_no_joint_model(own_review, results, monkeypatch):
    """Direction claims come from the pools; a claim that compares conditions has no evidence."""
    rows = pd.read_csv(own_review, dtype=str, keep_default_na=False)
    alone = rows[(rows["condition"] == "alpha") & (rows["comparator"] == "well")]
    alone.to_csv(own_review, index=False)
    own_review.with_name("claims.csv").write_text(
        f"{HEADER}\nC1,direction,reflex,alpha,,+,,Faster\nC2,shared,reflex,alpha,beta,+,,Both\n",
        encoding="utf-8",
    )

    def sampled(*args, **kwargs):
        raise RuntimeError("sampled")

    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", sampled)
    done = call("claims", own_review, "--results", results, "--format", "json")
    rows = {r["claim_id"]: r for r in json.loads(done.stdout)}
    assert done.exit_code == 0
    assert rows["C1"]["verdict"] == "supported"
    assert rows["C1"]["k"] > 0
    assert rows["C2"]["verdict"] == "no evidence"


# ---------------------------------------------------------------- overlap from the same draws


@pytest.mark.parametrize(
    ("words", "others"),
    [
        (["--index", "beta"], {"alpha", "gamma"}),
        (["--threshold", "0.35"], {"beta", "gamma"}),
    ],
)
def test_overlap_of_any_condition_and_threshold_needs_no_new_fit(
    own_review, results, monkeypatch, words, others
):
    """The tables of a run answer for its own index and threshold; its draws for all others."""
    from nssi_meta.evidence.read import read_effects
    from nssi_meta.synthesis.overlap import overlap
    from nssi_meta.synthesis.posterior_file import load_posterior

    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", None)
    done = call("overlap", own_review, "--results", results, *words, "--format", "json")
    rows = pd.DataFrame(json.loads(done.stdout))
    assert set(rows["other"]) == others
    profiles = load_posterior(results / "posterior" / "profiles.nc", read_effects(own_review))
    asked = dict(zip(words[::2], words[1::2], strict=True))
    found = overlap(profiles, float(asked.get("--threshold", 0.2)), asked.get("--index")).figures
    pd.testing.assert_series_equal(rows["median"], found["median"], rtol=1e-12)


def test_an_unknown_index_is_refused_before_any_fit(own_review, monkeypatch):
    monkeypatch.setattr("nssi_meta.synthesis.profiles.fit_profiles", None)
    done = call("overlap", own_review, "--index", "betta")
    assert done.exit_code == 2
    assert "'betta' is no condition of this review; it has alpha, beta, gamma" in done.stderr


def test_a_probability_near_the_rule_shows_its_side(own_review, results):
    """`0.90, open` beside a rule that says 0.9 would look like an error."""
    from nssi_meta.cli.claims import _for_people

    printed = _for_people(
        pd.DataFrame({"probability": [0.8963, 0.1043, 0.5, 0.9999, float("nan")]})
    )
    assert list(printed["probability"]) == ["0.896", "0.104", "0.50", "> 0.99", ""]
    said = call("claims", own_review, "--results", results).stdout
    ours = json.loads(call("claims", own_review, "--results", results, "--format", "json").stdout)
    assert f"{ours[0]['probability']:.2f}" in said


def test_every_bad_cell_of_a_claim_is_named_also_where_its_kind_is_wrong(own_review, results):
    bad = f"{HEADER}\nC1,directon,refleks,alfa,,higher,,Reflexes are faster\n"
    own_review.with_name("claims.csv").write_text(bad, encoding="utf-8")
    done = call("claims", own_review, "--results", results)
    assert done.exit_code == 1
    for column, value in (("kind", "directon"), ("mechanism", "refleks"), ("condition", "alfa"),
                          ("expected", "higher")):  # fmt: skip
        assert f"claims.csv, line 2, column {column}: '{value}' is no" in done.stderr
