"""Sums that never wrap: a sum of amounts beyond ±MOST_SUM is ±MOST_SUM.

Spark's own sum of bigints wraps, and its sum of decimals takes several times as long. So the upper and the lower 32
bits are summed apart, which two billion rows cannot make too large, and put together: the sum is exact until then,
and does not depend on the order of its rows.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

from stitch.amounts import MOST_SUM

_LOW_BITS = 0xFFFF_FFFF
_MOST_HIGH = MOST_SUM >> 32


def saturating_sum(amount: Column | str) -> Column:
    """The sum of a bigint column, an aggregate; null where there is nothing to sum."""
    column = F.col(amount) if isinstance(amount, str) else amount
    low = F.sum(column.bitwiseAND(F.lit(_LOW_BITS)))
    high = F.sum(F.shiftright(column, 32)) + F.shiftright(low, 32)
    exact = F.shiftleft(high, 32) + low.bitwiseAND(F.lit(_LOW_BITS))
    most = F.lit(MOST_SUM).cast("bigint")
    return F.when(high >= _MOST_HIGH, most).when(high < -_MOST_HIGH, -most).otherwise(exact)
