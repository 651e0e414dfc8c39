"""What scipy says to the inputs of the statistics' tests, as JSON:
python3 test/support/statistics.py | npx biome format --stdin-file-path=x.json --config-path=.biome.json

Written with scipy 1.17.1. Censored values are null in the file and infinite here.
"""
import json
import random

import numpy as np
import scipy
from scipy import stats

inf = float("inf")
draw = random.Random(1934)


def median_interval(values, level):
    n, s = len(values), sorted(values)
    k = int(stats.binom.ppf((1 - level) / 2, n, 0.5))  # largest k with P(B < k) <= (1 - level) / 2
    coverage = 1 - 2 * stats.binom.cdf(k - 1, n, 0.5)
    return {"values": values, "level": level, "low": s[k - 1], "high": s[n - k], "coverage": coverage,
            "median": s[n // 2] if n % 2 or s[n // 2] == s[n // 2 - 1] else (s[n // 2] + s[n // 2 - 1]) / 2}


def proportion(successes, n, level):
    low, high = stats.binomtest(successes, n).proportion_ci(level, "exact")
    return {"successes": successes, "n": n, "level": level, "low": low, "high": high}


def permutation(a, b):
    ranks = stats.rankdata(a + b)

    def mean_rank_difference(x, y, axis=-1):
        return np.abs(np.mean(x, axis=axis) - np.mean(y, axis=axis)).round(9)

    exact = stats.permutation_test((ranks[:len(a)], ranks[len(a):]), mean_rank_difference, vectorized=True,
                                   n_resamples=np.inf, alternative="greater")
    return {"a": a, "b": b, "p": exact.pvalue}


def untied(n, m):
    """Too many divisions to enumerate; without ties the exact rank-sum distribution is Mann and Whitney's."""
    values = draw.sample(range(1000, 99999), n + m)
    a, b = values[:n], [value + 9000 for value in values[n:]]
    return {"a": a, "b": b, "p": stats.mannwhitneyu(a, b, method="exact").pvalue}


def bonferroni_holm(p):
    """By closed testing, not by steps: the largest Bonferroni p-value of all sets of hypotheses that an index is in."""
    from itertools import combinations
    sets = [c for size in range(1, len(p) + 1) for c in combinations(range(len(p)), size)]
    return {"p": p, "adjusted": [max(min(1, len(c) * min(p[i] for i in c)) for c in sets if index in c)
                                 for index in range(len(p))]}


def times(n, censored=0):
    return [round(draw.lognormvariate(10, 0.4)) for _ in range(n - censored)] + [inf] * censored


def plain(value):
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return None if value == inf else float(value) if isinstance(value, float) else value


print(json.dumps(plain({
    "scipy": scipy.__version__,
    "medianIntervals": [median_interval(times(n, censored), level) for n, censored, level in [
        (6, 0, 0.95), (7, 1, 0.95), (8, 5, 0.95), (10, 2, 0.95), (10, 5, 0.95), (12, 12, 0.95), (30, 0, 0.95),
        (30, 9, 0.9), (59, 3, 0.99), (300, 0, 0.95)]],
    "proportions": [proportion(*case) for case in [
        (0, 1, 0.95), (1, 1, 0.95), (0, 10, 0.95), (3, 10, 0.95), (10, 10, 0.95), (1, 30, 0.9), (29, 30, 0.95),
        (150, 300, 0.99)]],
    "permutations": [permutation(*case) for case in [
        ([1, 2, 3], [4, 5, 6]), (times(6), times(6)), (times(6, 2), times(8, 1)), (times(9), times(4, 4)),
        ([5, 5, 5, 7], [5, 7, 7, 7, 9]), (times(3, 3), times(3, 3)), (times(7, 1), times(9, 6))]],
    "untiedPermutations": [untied(30, 30), untied(12, 40)],
    "holm": [bonferroni_holm(p) for p in [
        [0.01], [0.01, 0.04, 0.03, 0.005], [0.5, 0.6, 0.7], [0.02, 0.02, 0.02], [0.001, 0.9, 0.012, 0.04, 0.03]]],
})))
