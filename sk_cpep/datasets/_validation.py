"""What several functions of this folder check of what they are given."""

from numbers import Integral

from sklearn.utils._param_validation import Interval

COUNT = Interval(Integral, 1, None, closed="left")
