"""Every objective once more, in plain Python numbers and loops: written from the formulas, sharing nothing with the package.

A row holds its labels alone: {"policy": [...], "reference": [...], "proxy": [...], "length": attended tokens}.
"""

import math


def log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def nll(row, positions=1):
    return -math.fsum(row["policy"]) / positions


def ratios(row):
    return [ours - theirs for ours, theirs in zip(row["policy"], row["reference"], strict=True)]


def npo(ratio, beta):
    return -2 / beta * log_sigmoid(-beta * ratio)


def dpo(safe, harmful, beta):
    return -2 / beta * log_sigmoid(beta * (math.fsum(ratios(safe)) - math.fsum(ratios(harmful))))


def weight(kind, reward, tau, slope, cap):
    value = {
        "exp": lambda: math.exp(reward / tau),
        "sigmoid": lambda: sigmoid(slope * reward),
        "exp_released": lambda: 1 / math.exp(reward / tau),
        "sigmoid_released": lambda: 1 - sigmoid(slope * reward),
    }[kind]()
    return value if cap is None else min(value, cap)


def weighted_refusal(row, kind, tau, slope, cap):
    total = 0.0
    for ours, proxy, reference in zip(row["policy"], row["proxy"], row["reference"], strict=True):
        total -= weight(kind, proxy - reference, tau, slope, cap) * ours
    return total


def unlearning(kind, row, beta, margin, rows):
    if kind == "token":
        return math.fsum(npo(ratio, beta) for ratio in ratios(row))
    if kind == "sequence":
        return npo(math.fsum(ratios(row)), beta)
    one = 2 / beta * math.log1p(math.exp(beta * math.fsum(row["policy"]) / row["length"] + margin))
    return one if kind == "released" else rows * one


def wdoor(safe, harmful, rows, *, beta, weights, tau, slope, weight_cap, unlearning_kind, margin):
    refusal = weighted_refusal(safe, weights, tau, slope, weight_cap)
    return refusal + unlearning(unlearning_kind, harmful, beta, margin, rows)


def align(name, settings, safe, harmful, rows, padded):
    """The alignment loss of one pair of rows; `rows` of them are in the step."""
    beta = settings.get("beta")
    if name == "wdoor":
        rest = {key: value for key, value in settings.items() if key not in ("alpha", "unlearning")}
        return wdoor(safe, harmful, rows, unlearning_kind=settings["unlearning"], **rest)
    return {
        "refusal": lambda: nll(safe),
        "ga": lambda: -nll(harmful),
        "npo": lambda: npo(math.fsum(ratios(harmful)), beta),
        "dpo": lambda: dpo(safe, harmful, beta),
        "door": lambda: nll(safe) + npo(math.fsum(ratios(harmful)), beta),
        "refusal_released": lambda: nll(safe, padded),
        "ga_released": lambda: -nll(harmful, padded),
    }[name]()


def losses(name, settings, batch, padded):
    """({"align": per pair, "retain": per row}, the step's whole loss)."""
    scale = padded if name.endswith("_released") else 1
    retain = [nll(row, scale) for row in batch["retain"]]
    mean = math.fsum(retain) / len(retain)
    if name == "sft":
        return {"retain": retain}, mean
    rows = len(batch["safe"])
    pairs = zip(batch["safe"], batch["harmful"], strict=True)
    aligned = [align(name, settings, safe, harmful, rows, padded) for safe, harmful in pairs]
    alpha = settings["alpha"]
    return {"align": aligned, "retain": retain}, alpha * math.fsum(aligned) / rows + (1 - alpha) * mean
