"""NUTS that converges or says so: sampling with checks, one stricter retry, plain sentences.

Every quantity that will be reported is checked, derived ones included: R-hat <= 1.01, bulk and
tail ESS >= 400, no divergences, E-BFMI > 0.3 (Vehtari et al. 2021, Bayesian Analysis 16:667).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from nssi_meta.shown import shown

if TYPE_CHECKING:
    import xarray as xr

Floats = NDArray[np.float64]
#: Turns a posterior data set into the reported quantities by name, each (chain, draw).
Reported = Callable[["xr.Dataset"], Mapping[str, Floats]]
Progress = Callable[[str], None]

MAX_R_HAT = 1.01
MIN_ESS = 400
MIN_E_BFMI = 0.3
#: What a caller of `refit` can do where draws are too few; {draws} and {tune} are twice the last.
MORE_DRAWS = "more draws (`settings=nm.Settings(draws={draws}, tune={tune})`)"


@dataclass(frozen=True)
class Settings:
    """Sampler settings; `stricter` is the automatic second try.

    `draws` and `tune` are those of each of `chains` chains.
    """

    draws: int = 2000
    tune: int = 1000
    chains: int = 4
    target_accept: float = 0.9

    def stricter(self) -> Settings:
        smaller = max(0.98, (1.0 + self.target_accept) / 2)
        return Settings(2 * self.draws, 2 * self.tune, self.chains, smaller)


@dataclass(frozen=True)
class Fit:
    """A sampled posterior: DataTree, one diagnostics row a quantity, facts, what is wrong.

    `problems` are sentences with a remedy; empty when the fit passed every check.
    """

    posterior_data: xr.DataTree
    diagnostics: pd.DataFrame
    facts: dict[str, Any]
    problems: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        facts = self.facts
        chains = f"{facts['chains']} chains of {facts['draws']} draws by {facts['sampler']}"
        state = "every check passed" if self.converged else "NOT CONVERGED"
        return shown(
            f"{chains}, {state}",
            self.diagnostics,
            *self.problems,
            "arviz.summary(fit.posterior_data) has means and intervals",
        )

    @property
    def converged(self) -> bool:
        return not self.problems


def sample_compiled(
    compiled: Any,
    reported: Reported,
    *,
    seed: int,
    settings: Settings | None = None,
    cores: int | None = None,
    progress: Progress | None = None,
    remedy: str = MORE_DRAWS,
) -> Fit:
    """Sample with nutpie, check every reported quantity, retry once with stricter settings.

    The second fit is returned whether or not it passes; look at `Fit.converged`. `compiled` by
    `compiled.compiled_for`; `remedy` is what the caller can do where chains do not agree.
    """
    tell = progress or _silent
    attempt = settings or Settings()
    fit = _run(compiled, reported, seed, attempt, cores, 1, tell, remedy)
    if not fit.converged:
        tell(f"checks failed ({' '.join(fit.problems)}); once more with stricter settings")
        fit = _run(compiled, reported, seed + 1, attempt.stricter(), cores, 2, tell, remedy)
    return fit


def _silent(_: str) -> None:
    return None


def _run(
    compiled: Any,
    reported: Reported,
    seed: int,
    settings: Settings,
    cores: int | None,
    attempt: int,
    tell: Progress,
    remedy: str,
) -> Fit:
    import nutpie

    tell(f"sampling {settings.chains} chains of {settings.tune} + {settings.draws} draws")
    tree = nutpie.sample(
        compiled,
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        cores=cores or min(settings.chains, available_cores()),
        seed=seed,
        target_accept=settings.target_accept,
        progress_bar=False,
        save_warmup=False,
    )
    stats = tree["sample_stats"].dataset
    divergences = int(stats["diverging"].sum())
    e_bfmi = float(np.min(_e_bfmi(np.asarray(stats["energy"]))))
    table = diagnose(reported(tree["posterior"].dataset))
    facts = {
        "sampler": "nutpie NUTS",
        "chains": settings.chains,
        "draws": settings.draws,
        "tune": settings.tune,
        "target_accept": settings.target_accept,
        "seed": seed,
        "attempts": attempt,
        "divergences": divergences,
        "e_bfmi_min": e_bfmi,
        "r_hat_max": float(table["r_hat"].max()),
        "ess_bulk_min": float(table["ess_bulk"].min()),
        "ess_tail_min": float(table["ess_tail"].min()),
    }
    remedy = remedy.format(draws=2 * settings.draws, tune=2 * settings.tune)
    return Fit(tree, table, facts, tuple(_problems(table, divergences, e_bfmi, remedy)))


def available_cores() -> int:
    """Processor cores this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def diagnose(quantities: Mapping[str, Floats]) -> pd.DataFrame:
    """R-hat, bulk and tail ESS of each named quantity (chain, draw).

    Quantities that never vary (a correlation of 1 with itself) are left out.
    """
    from arviz_stats.base.array import array_stats

    tail = {"method": "tail", "prob": (0.05, 0.95)}
    records = []
    for name, draws in quantities.items():
        if np.ptp(draws) <= 1e-12 * np.abs(draws).max():
            continue
        axes = {"chain_axis": 0, "draw_axis": 1}
        r_hat = float(array_stats.rhat(draws, **axes))
        ess = [float(array_stats.ess(draws, **axes, **kw)) for kw in ({"method": "bulk"}, tail)]
        records.append((name, r_hat, *ess))
    table = pd.DataFrame(records, columns=["quantity", "r_hat", "ess_bulk", "ess_tail"])
    table["ok"] = (
        (table["r_hat"] <= MAX_R_HAT)
        & (table["ess_bulk"] >= MIN_ESS)
        & (table["ess_tail"] >= MIN_ESS)
    )
    return table


def _e_bfmi(energy: Floats) -> Floats:
    """Energy Bayesian fraction of missing information per chain (Betancourt 2016)."""
    out: Floats = np.square(np.diff(energy, axis=1)).mean(axis=1) / np.var(energy, axis=1)
    return out


def _problems(table: pd.DataFrame, divergences: int, e_bfmi: float, remedy: str) -> list[str]:
    out = []
    if table.empty:
        out.append(
            "no reported quantity ever moved: the sampler is stuck at its starting point. Remedy: "
            "look for data or priors that contradict each other."
        )
    failed = table[~table["ok"]]
    if len(failed):
        worst = failed.sort_values("r_hat", ascending=False).iloc[0]
        out.append(
            f"{len(failed)} of {len(table)} reported quantities failed the convergence checks "
            f"(worst: {worst['quantity']}, R-hat {worst['r_hat']:.3f}, bulk ESS "
            f"{worst['ess_bulk']:.0f}, tail ESS {worst['ess_tail']:.0f}); needed: R-hat <= "
            f"{MAX_R_HAT}, ESS >= {MIN_ESS}. Remedy: {remedy}."
        )
    if divergences:
        out.append(
            f"{divergences} divergent transitions: parts of the posterior were not explored. "
            "Remedy: tighter priors, or look for a study whose rows contradict each other."
        )
    if not e_bfmi > MIN_E_BFMI:
        out.append(
            f"E-BFMI {e_bfmi:.2f} is not above {MIN_E_BFMI}: the sampler moves too slowly between "
            "energies. Remedy: tighter priors on the variances."
        )
    return out
