"""The estimators against scikit-learn's, with the same parameters: seconds to fit, and scores over seeds."""

import pytest

pytest.importorskip("sklearn", "1.6")

from estimators import CASES, race

POINTS = 0.003  # the allowed difference of mean accuracy or R² over the seeds


@pytest.mark.parametrize("case", CASES)
def test_fit(case, benchmark, capsys):
    benchmark.group = "estimator"
    if benchmark.disabled:
        race(case, tiny=True, seeds=1)
        benchmark(lambda: None)
        return
    found = benchmark.pedantic(race, (case,))
    (ours, theirs), scores = (each["median"] for each in found["seconds"].values()), found["score"]
    benchmark.extra_info.update(found)
    with capsys.disabled():
        print(
            f"\n{case}: {ours:.2f} s, scikit-learn {theirs:.2f} s, {theirs / ours:.1f} times faster; "
            f"score {scores['fastmlp']:.4f}, scikit-learn {scores['scikit-learn']:.4f}"
        )
    assert abs(scores["fastmlp"] - scores["scikit-learn"]) <= POINTS
