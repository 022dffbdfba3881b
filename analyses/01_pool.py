"""How large is each effect, and what would a new study find? Pool cells of the data.

.venv/bin/python analyses/01_pool.py
"""

import nssi_meta as nm

DATA = "data/effects.csv"
COLUMNS = [
    "label", "estimand", "k", "n_bounds", "mu_median", "mu_low", "mu_high", "pred_low", "pred_high",
]  # fmt: skip


def main() -> None:
    evidence = nm.read_effects(DATA)
    evidence.require_usable()  # raises with every bad cell named

    # One mechanism in one condition. The answer leans on the prior where studies give only bounds:
    # see how far by changing it.
    threshold = evidence.select(
        mechanism="pain_threshold", condition="nssi", estimand="case_control"
    )
    for prior in ("normal(0,1)", "normal(0,0.5)", "student_t(3,0,1)"):
        pool = nm.pool(threshold, mu_prior=prior).summary().iloc[0]
        print(f"{prior:18} {pool.mu_median:.2f} [{pool.mu_low:.2f}, {pool.mu_high:.2f}]")

    # Every mechanism of one system, in each condition. Without a selection, `nm.pool(evidence)`
    # pools every cell of the table.
    mechanisms = evidence.mechanisms
    pain = list(mechanisms.loc[mechanisms["system"] == "pain", "mechanism"])
    pools = nm.pool(evidence.select(mechanism=pain, condition="nssi"))
    print(pools.summary()[COLUMNS].round(2).to_string(index=False))


if __name__ == "__main__":
    main()
