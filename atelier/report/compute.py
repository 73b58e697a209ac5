"""The cost of a training run in words, and an estimate of its energy and carbon from published averages.

Nothing here is metered: the record (atelier.training.clock.Clock) knows seconds and hardware only. So every assumption
stands beside the estimate.
"""

from __future__ import annotations

from typing import Any

# Watts of one hardware thread under full load, the mean over AWS's machines: Cloud Carbon Footprint, Methodology,
# "Compute", from SPECpower results. https://www.cloudcarbonfootprint.org/docs/methodology/
THREAD_WATTS = 3.5
# Energy of a data center for each unit that its computers use, weighted mean of the industry: Uptime Institute, Global Data
# Center Survey 2025, page 7.
PUE = 1.54
# Grams of CO2 equivalents for each kWh that the world generated in 2025: Ember, Global Electricity Review 2026.
# https://ember-energy.org/latest-insights/global-electricity-review-2026/electricity-demand-and-supply-trends/
GRAMS_PER_KWH = 458.0

MAX_KINDS = 2


def spent(record: list[dict[str, Any]]) -> list[str]:
    """A phrase for each kind of hardware, that of the most time first: "3.1 minutes on 2 threads of AMD EPYC 7763 (no GPU)".

    Versions of PyTorch and the threads beside a GPU are not distinguished. Beyond MAX_KINDS the rest is one phrase.
    """
    seconds = dict[tuple[str, str, int, int], float]()
    for one in record:
        hardware = (one["kind"], one["device"], one["ranks"], one["threads"] if one["kind"] == "cpu" else 0)
        seconds[hardware] = seconds.get(hardware, 0.0) + one["seconds"]
    longest = sorted(seconds.items(), key=lambda item: -item[1])
    phrases = [_phrase(*hardware, took) for hardware, took in longest[:MAX_KINDS]]
    rest = longest[MAX_KINDS:]
    if rest:
        phrases.append(f"{_time(sum(took for _, took in rest))} on {len(rest)} more kinds of hardware")
    return phrases


def estimate(record: list[dict[str, Any]]) -> tuple[float, float] | None:
    """Energy [kWh] and carbon [g of CO2 equivalents] of a run, or None where the power limit of a GPU of it is not known.

    Time × power × PUE × grid intensity, as in Strubell et al., Energy and Policy Considerations for Deep Learning in NLP,
    2019, arXiv:1906.02243, section 2. A GPU counts with its power limit, a CPU with THREAD_WATTS for each thread; memory,
    network and the CPU beside a GPU are not counted.
    """
    joules = 0.0
    for one in record:
        watts = THREAD_WATTS * one["threads"] if one["kind"] == "cpu" else one["watts"]
        if watts is None:
            return None
        joules += one["seconds"] * one["ranks"] * watts
    kwh = PUE * joules / 3.6e6
    return kwh, kwh * GRAMS_PER_KWH


def estimate_text(record: list[dict[str, Any]]) -> str:
    """The estimate with everything that it assumes, or why there is none."""
    estimated = estimate(record)
    if estimated is None:
        return "Energy: neither metered nor estimated, since the power limit of the GPU is not known"
    kwh, grams = estimated
    energy = f"{_digits(kwh)} kWh" if kwh >= 1 else f"{_digits(1000 * kwh)} Wh"
    carbon = f"{_digits(grams / 1000)} kg" if grams >= 1000 else f"{_digits(grams)} g"
    limits = sorted({one["watts"] for one in record if one["kind"] != "cpu"})
    power = [f"a GPU at its limit of {watts:.0f} W" for watts in limits]
    if any(one["kind"] == "cpu" for one in record):
        power.append(f"{THREAD_WATTS} W a busy thread (Cloud Carbon Footprint)")
    omitted = f"no {'host CPU, ' if limits else ''}memory or network"
    return (
        f"Energy (estimated, nothing was metered): {energy}, {carbon} CO₂e. Assumed: {', '.join(power)}, "
        f"PUE {PUE} (Uptime Institute 2025), {GRAMS_PER_KWH:.0f} g CO₂e/kWh (Ember, world 2025), {omitted}"
    )


def _phrase(kind: str, device: str, ranks: int, threads: int, seconds: float) -> str:
    if kind != "cpu":
        return f"{_time(seconds * ranks, 'GPU ')} on {ranks} × {device}"
    many = f"{ranks} × " if ranks > 1 else ""
    return f"{_time(seconds)} on {many}{threads} thread{'s' if threads > 1 else ''} of {device} (no GPU)"


def _time(seconds: float, of: str = "") -> str:
    """Three digits: "45 seconds", "3.1 minutes", "1.25 GPU hours"."""
    size, unit = (1, "second") if seconds < 60 else (60, "minute") if seconds < 3600 else (3600, "hour")
    number = f"{seconds / size:.3g}" if seconds / size < 999.5 else f"{seconds / size:,.0f}"
    return f"{number} {of}{unit}{'' if number == '1' else 's'}"


def _digits(value: float) -> str:
    """Two digits, as an estimate has; more only before the point."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
