"""Names that options take, as plain data: nothing has to be loaded to check them."""

COSTS = ("parameters", "flops")
ESTIMATORS = ("heun", "straight_through", "disarm")  # of theta's gradient
PRECISIONS = ("float32", "bfloat16")  # of matrix products; everything else is float32
PRUNERS = ("magnitude", "random")  # that prune on a schedule
