"""What `bench_brms` compares, on our side: data that brms can express, compiling, sampling."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bench_nuts import CHAINS, CORES, DRAWS, SCHOOLS, TUNE, schools
from numpy.typing import NDArray

EFFECTS = Path(__file__).parents[1] / "data" / "effects.csv"
#: Models and how often each is sampled; rates are the median's.
RUNS = {"three-level": 3, "profiles": 1}
Draws = dict[str, NDArray[np.float64]]


def three_level_rows() -> pd.DataFrame:
    """The schools as brms takes them."""
    return pd.read_csv(SCHOOLS).assign(sei=lambda d: np.sqrt(d["vi"]))


@dataclass(frozen=True)
class ProfileRows:
    """The joint model's rows as brms can express them: ours, brms's, how many are left out."""

    data: Any
    table: pd.DataFrame
    left_out: int
    index: str


def profile_rows() -> ProfileRows:
    """Rows with a sign, their errors independent, every contrast of a study a study of its own."""
    import nssi_meta as nm
    from nssi_meta.models.profiles import profile_data
    from nssi_meta.synthesis.profiles import joint_data

    joint, index = joint_data(nm.read_effects(EFFECTS))
    signed = (joint.frame["kind"] != "unsigned").to_numpy()
    frame = joint.frame[signed]
    contrast = frame["study_id"] + "/" + frame["condition"] + "/" + frame["comparator"]
    frame = frame.assign(study_id=contrast, sample_id="", control_id="")
    reference = set(frame["comparator"]) - set(joint.conditions)
    data = profile_data(
        frame, joint.conditions, reference.pop(), lambda rows: np.diag(rows["vi"].to_numpy(float))
    )
    return ProfileRows(data, brms_rows(data), int((~signed).sum()), index)


def brms_rows(data: Any) -> pd.DataFrame:
    """A row's arms as columns of 1, -1 and 0, its bounds in the words of brms's `cens`."""
    frame, k = data.frame, np.arange(len(data.frame))
    arms = np.zeros((len(k), len(data.conditions) + 1))  # the last column is the reference group's
    arms[k, data.case] += 1
    arms[k, data.comparator] -= 1
    exact = (frame["kind"] == "exact").to_numpy()
    low, high = frame["lower"].to_numpy(float), frame["upper"].to_numpy(float)
    which = [exact, np.isneginf(low), np.isposinf(high)]
    out = pd.DataFrame(arms[:, :-1], columns=list(data.conditions))
    out["censored"] = np.select(which, ["none", "left", "right"], "interval")
    out["yi"] = np.select(which[:2], [frame["yi"].to_numpy(float), high], low)
    out["upper"] = np.where(out["censored"] == "interval", high, out["yi"])
    out["sei"] = np.sqrt(frame["vi"].to_numpy(float))
    out["mechanism"] = frame["mechanism"].to_numpy()
    out["study"] = (frame["mechanism"] + "/" + frame["study_id"]).to_numpy()
    return out


def three_level_side() -> tuple[Callable[[], Any], Callable[[Any, int], tuple[int, Draws]]]:
    """How to compile the three-level model, and how to sample it: divergences and draws."""
    from nssi_meta.inference.compiled import SHORT, compiled_for, refit
    from nssi_meta.inference.nuts import Settings
    from nssi_meta.models.three_level import three_level

    structure = three_level(*schools())
    settings = Settings(DRAWS, TUNE, CHAINS, SHORT.target_accept)

    def sampling(_: Any, seed: int) -> tuple[int, Draws]:
        fit = refit(structure, seed=seed, settings=settings, cores=CORES)
        posterior = fit.posterior_data["posterior"]
        names = {"mu": "mean", "tau": "tau", "omega": "omega"}
        draws = {n: np.asarray(posterior[p]).reshape(CHAINS, -1) for n, p in names.items()}
        return fit.facts["divergences"], draws

    return lambda: compiled_for(structure), sampling


def profiles_side() -> tuple[Callable[[], Any], Callable[[Any, int], tuple[int, Draws]]]:
    """The same for the joint profiles: one attempt with the default settings, no second one."""
    import nutpie

    from nssi_meta.inference.compiled import compiled_for
    from nssi_meta.inference.nuts import Settings
    from nssi_meta.models.profiles import profiles_model

    data = profile_rows().data
    settings = Settings()

    def sampling(compiled: Any, seed: int) -> tuple[int, Draws]:
        tree = nutpie.sample(
            compiled,
            draws=settings.draws,
            tune=settings.tune,
            chains=settings.chains,
            cores=CORES,
            seed=seed,
            target_accept=settings.target_accept,
            progress_bar=False,
            save_warmup=False,
        )
        divergences = int(tree["sample_stats"]["diverging"].sum())
        return divergences, named_profiles(tree["posterior"], data.mechanisms, data.conditions)

    return lambda: compiled_for(profiles_model(data)), sampling


def measure(what: str, folder: Path) -> dict[str, float]:
    """Compile and sample; times as `brms.R` writes them, draws in FOLDER/ours1.npz and on."""
    compiling, sampling = {"three-level": three_level_side, "profiles": profiles_side}[what]()
    facts: dict[str, float] = {}
    with clocked(facts, "compile"):
        compiled = compiling()
    for run in range(1, RUNS[what] + 1):
        with clocked(facts, f"sample{run}"):
            facts[f"divergences{run}"], draws = sampling(compiled, run)
        if run == 1:
            facts |= {"done": time.time(), "done_cpu": time.process_time()}
        np.savez(folder / f"ours{run}.npz", **draws)
    return facts


@contextmanager
def clocked(facts: dict[str, float], name: str) -> Iterator[None]:
    """Clock and processor seconds of the block as `name` and `name`_cpu."""
    clock, processor = time.perf_counter(), time.process_time()
    yield
    facts[name] = time.perf_counter() - clock
    facts[f"{name}_cpu"] = time.process_time() - processor


def named_profiles(
    posterior: Any, mechanisms: tuple[str, ...], conditions: tuple[str, ...]
) -> Draws:
    """Draws (chain, draw) by name: mu[m,c], tau[m], sigma[c], R[c,c'], tau_0, omega."""
    mu, tau, sigma, R = (np.asarray(posterior[n]) for n in ("mu", "tau", "sigma", "R"))
    out = {name: np.asarray(posterior[name]) for name in ("tau_0", "omega")}
    for i, m in enumerate(mechanisms):
        out[f"tau[{m}]"] = tau[..., i]
        out |= {f"mu[{m},{c}]": mu[..., i, j] for j, c in enumerate(conditions)}
    for j, c in enumerate(conditions):
        out[f"sigma[{c}]"] = sigma[..., j]
        out |= {f"R[{b},{c}]": R[..., k, j] for k, b in enumerate(conditions[:j])}
    return out


def overlap(draws: Draws, rows: ProfileRows, delta: float = 0.2) -> Draws:
    """Overlap figures of the index condition with each other one, over all mechanisms."""
    from nssi_meta.synthesis.overlap_figures import overlap_figures

    def means(condition: str) -> NDArray[np.float64]:
        return np.stack([draws[f"mu[{m},{condition}]"] for m in rows.data.mechanisms], axis=-1)

    out: Draws = {}
    for other in rows.data.conditions:
        if other != rows.index:
            figures = overlap_figures(means(rows.index), means(other), delta)
            out |= {f"{name}[{other}]": values for name, values in figures.items()}
    return out
