"""Which mechanisms does NSSI share with each other condition? Fit the joint model (a few minutes).

.venv/bin/python analyses/02_overlap.py
"""

import nssi_meta as nm

DATA = "data/effects.csv"
THRESHOLDS = (0.1, 0.2, 0.3)


def main() -> None:
    evidence = nm.read_effects(DATA)
    evidence.require_usable()
    profiles = nm.fit_profiles(evidence, progress=print)
    if not profiles.converged:
        raise SystemExit("not converged: " + "; ".join(profiles.fit.problems))

    # The threshold is a choice; the same posterior answers for each.
    for threshold in THRESHOLDS:
        shared = nm.overlap(profiles, threshold)
        print(f"\nBeyond {threshold} in both conditions, in the same direction:")
        table = shared.summary()
        table = table[table["figure"] == "n_shared"]
        columns = [
            "other_label",
            "median",
            "low",
            "high",
            "prior_low",
            "prior_high",
            "n_mechanisms",
        ]
        print(table[columns].to_string(index=False))

    shared = nm.overlap(profiles, 0.2)
    print("\nVerdicts on single mechanisms (threshold 0.2):")
    print(shared.mechanisms.groupby(["other_label", "verdict"]).size().to_string())


if __name__ == "__main__":
    main()
