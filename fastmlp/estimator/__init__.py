"""``MLPClassifier`` and ``MLPRegressor``: scikit-learn's estimators of these names, on these kernels.

What their training does, scikit-learn's does too, in the same order and from the same random numbers: initial weights,
held-out samples, batches, updates and rules of stopping. So the same parameters give the same network to within
rounding (the classes' docstrings have the exceptions), and what is tuned for one holds for the other.

``TableClassifier`` and ``TableRegressor`` differ: they take tables as people have them; ``fastmlp.tables`` trains them.

``base`` has what both do, ``classifier`` and ``regressor`` what each learns, ``checks`` what they are given, checked,
``training`` the loops.
"""

from ..extras import to_install

try:
    from sklearn.utils.validation import validate_data as _validate_data  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"an estimator of fastmlp needs scikit-learn 1.6 or newer; {to_install('sklearn')} ({error})"
    ) from error

from .classifier import MLPClassifier
from .regressor import MLPRegressor
from .tables import TableClassifier, TableRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "TableClassifier", "TableRegressor"]
