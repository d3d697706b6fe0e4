"""``MLPClassifier``: scikit-learn's estimator of that name, on these kernels.

What its training does, scikit-learn's does too, in the same order and from the same random numbers: initial weights,
held-out samples, batches, updates and rules of stopping. So the same parameters give the same network to within rounding
(the class's docstring has the exceptions), and what is tuned for one holds for the other.

``base`` has what any of its kind do, ``classifier`` the class, ``checks`` what it is given, checked, ``training`` the loops.
"""

try:
    import sklearn as _sklearn  # noqa: F401
    from sklearn.utils.validation import validate_data as _validate_data  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"fastmlp.MLPClassifier needs scikit-learn 1.6 or newer; pip install 'fastmlp[sklearn]' ({error})"
    ) from error

from .classifier import MLPClassifier

__all__ = ["MLPClassifier"]
